#!/bin/sh
# SPDX-License-Identifier: MIT
# soak.sh PROGRAM SECONDS - runs the soak on a store of its own and removes it
set -eu
area=$(mktemp -d "${TMPDIR:-/var/tmp}/kvfs-soak.XXXXXX")
trap 'rm -rf "$area"' EXIT
"$1" -s "$2" "$area/store"
