/* SPDX-License-Identifier: MIT */
/*
 * order_branch.c - the branches of the ordered index: children, their counts, and the separators
 * between them.
 *
 * A branch of n children has n - 1 separators; n is 0 only while it is being removed. A branch may
 * have a single child (a separator that shares no prefix with the others can leave one), but never
 * the root. The writer alone comes here, inside the closed gate. Nothing can fail: nodes were made
 * available before.
 */
#include <assert.h>

#include "order_node.h"

#define SHRINK_BELOW (ORDER_CHILDREN_MAX / 4)   /* children; then a branch looks for a sibling */
#define MERGED_MAX (ORDER_CHILDREN_MAX * 3 / 4) /* children; room for what comes */

/* A branch in parts, with room for what an edit adds before it is split. */
struct parts {
	unsigned children;
	struct order_node *nodes[2 * ORDER_CHILDREN_MAX];
	uint64_t counts[2 * ORDER_CHILDREN_MAX];
	struct order_item_ref *items; /* separator i is between children i and i + 1 */
};

uint64_t order_subtree(const struct order_node *node)
{
	uint64_t sum = 0;

	if (!node->level)
		return node->count;
	for (unsigned i = 0; i <= node->count; i++)
		sum += order_children(node)->counts[i];
	return sum;
}

unsigned order_branch_child(const struct order_node *node, const uint8_t *key, size_t size)
{
	bool exact;
	unsigned index = order_page_find(node, key, size, &exact);

	return index + exact;
}

/* ---- parts -------------------------------------------------------------------------------- */

static void load_children(const struct order_node *branch, struct parts *parts, unsigned at)
{
	unsigned children = branch->count + 1u;

	memcpy(parts->nodes + at, order_children(branch)->nodes,
		children * sizeof(parts->nodes[0]));
	memcpy(parts->counts + at, order_children(branch)->counts,
		children * sizeof(parts->counts[0]));
	parts->children = at + children;
}

static void store_children(
	struct order_node *branch, const struct parts *parts, unsigned from, unsigned to)
{
	memcpy(order_children(branch)->nodes, parts->nodes + from,
		(to - from) * sizeof(parts->nodes[0]));
	memcpy(order_children(branch)->counts, parts->counts + from,
		(to - from) * sizeof(parts->counts[0]));
}

/* Would a page of the separators [from, to) have room? */
static bool separators_fit(const struct parts *parts, unsigned from, unsigned to, unsigned *prefix)
{
	*prefix = 0;
	return from == to || order_page_choose(1, parts->items + from, to - from, 0, prefix);
}

/* Makes a branch of the children [from, to). The separators may be in the branch itself. */
static void build(struct order *order, struct order_node *branch, unsigned level,
	const struct parts *parts, unsigned from, unsigned to)
{
	struct order_node *page = order_scratch_page(order, ORDER_SCRATCH_OUT);
	unsigned prefix;
	bool fits = separators_fit(parts, from, to - 1, &prefix);

	assert(fits && to - from <= ORDER_CHILDREN_MAX);
	(void)fits;
	order_page_build(page, level, parts->items + from, to - 1 - from, prefix);
	order_page_copy(branch, page);
	store_children(branch, parts, from, to);
}

/* ---- splitting ---------------------------------------------------------------------------- */

static bool split_fits(const struct parts *parts, unsigned promoted)
{
	unsigned prefix, left = promoted + 1, right = parts->children - left;

	return left <= ORDER_CHILDREN_MAX && right <= ORDER_CHILDREN_MAX &&
	       separators_fit(parts, 0, promoted, &prefix) &&
	       separators_fit(parts, promoted + 1, parts->children - 1, &prefix);
}

/*
 * Which separator goes up. The middle one, or a late one when children are being appended. If a
 * half does not fit there because a new separator shortens the prefix of all others, the fitting
 * one nearest to the middle: there is one, because at least the new separator at the end that
 * shortens the prefix can go up itself.
 */
static unsigned choose_promoted(const struct parts *parts, bool appending)
{
	unsigned separators = parts->children - 1, middle = separators / 2;

	if (appending && split_fits(parts, separators - 2))
		return separators - 2;
	for (unsigned away = 0; away <= middle + 1; away++) {
		if (middle + away < separators && split_fits(parts, middle + away))
			return middle + away;
		if (away <= middle && split_fits(parts, middle - away))
			return middle - away;
	}
	assert(!"some separator can go up");
	return middle;
}

static void split(struct order *order, unsigned level, const struct parts *parts, bool appending)
{
	struct order_node *left = order->path[level].node, *right;
	struct order_node *promoted = order_scratch_page(order, ORDER_SCRATCH_PROMOTED + level % 2);
	unsigned at = choose_promoted(parts, appending);
	struct order_edit edit = {.removed = 1, .added = 2};

	right = order_pool_take(&order->pool, level);
	order_page_build(promoted, level, &parts->items[at], 1, 0);
	build(order, right, level, parts, at + 1, parts->children);
	build(order, left, level, parts, 0, at + 1);
	edit.at = level < order->depth ? order->path[level + 1].child : 0;
	edit.nodes[0] = left;
	edit.nodes[1] = right;
	edit.separators[0] = promoted;
	order_branch_edit(order, level + 1, &edit);
}

/* ---- editing ------------------------------------------------------------------------------ */

static void grow_root(struct order *order, const struct order_edit *edit)
{
	struct order_node *root = order_pool_take(&order->pool, order->depth + 1);
	struct order_item_ref items[2];
	struct parts parts = {.children = edit->added, .items = items};

	for (unsigned i = 0; i < edit->added; i++) {
		parts.nodes[i] = edit->nodes[i];
		parts.counts[i] = order_subtree(edit->nodes[i]);
		if (i)
			order_page_gather(edit->separators[i - 1], 0, 1, &items[i - 1]);
	}
	order->root = root;
	order->depth++;
	build(order, root, order->depth, &parts, 0, parts.children);
}

/* Takes the separators between and before removed children out of the page. */
static void remove_separators(
	struct order *order, struct order_node *branch, const struct order_edit *edit)
{
	unsigned at = edit->at, count = edit->removed - 1;

	if (!edit->added) {
		count++;
		at -= at > 0; /* the next child takes over the range, or the one before */
	}
	while (count--)
		order_pool_long_put(&order->pool, order_page_remove(branch, at));
}

static void edit_children(struct parts *parts, const struct order_edit *edit)
{
	unsigned tail = edit->at + edit->removed, move = parts->children - tail;

	memmove(parts->nodes + edit->at + edit->added, parts->nodes + tail,
		move * sizeof(parts->nodes[0]));
	memmove(parts->counts + edit->at + edit->added, parts->counts + tail,
		move * sizeof(parts->counts[0]));
	parts->children = edit->at + edit->added + move;
	for (unsigned i = 0; i < edit->added; i++) {
		parts->nodes[edit->at + i] = edit->nodes[i];
		parts->counts[edit->at + i] = order_subtree(edit->nodes[i]);
	}
}

/*
 * A branch begins with a separator or two, whose prefix those to come may not have, or one that is
 * much shorter than theirs will be: then nearly all heads are equal, and each step of a search
 * compares keys instead. So it is built anew now and then as it fills.
 */
static bool is_due(const struct order_node *branch, const struct order_edit *edit)
{
	return edit->added > 1 && branch->count >= 4 && !(branch->count & (branch->count - 1));
}

/* Inserts the new separators without rebuilding the page, if there is room; all or nothing. */
static bool insert_separators(struct order_node *branch, const struct order_edit *edit)
{
	uint8_t bytes[2][ORDER_INLINE_MAX];
	struct order_key keys[2];
	unsigned room = branch->heap - order_slots_start(branch->prefix_size) - branch->count * 8u;
	unsigned cost = 0;

	for (unsigned i = 0; i + 1 < edit->added; i++) {
		const struct order_node *page = edit->separators[i];

		keys[i].size = order_page_key_size(page, 0);
		keys[i].held = order_page_long(page, 0);
		keys[i].bytes = keys[i].held ? keys[i].held->bytes : bytes[i];
		if (!keys[i].held)
			order_page_key(page, 0, bytes[i], sizeof(bytes[i]));
		cost += order_cost(branch->level, keys[i].size, branch->prefix_size);
		if (cost > room || !order_page_fits(branch, keys[i].bytes, keys[i].size))
			return false;
	}
	for (unsigned i = 0; i + 1 < edit->added; i++)
		order_page_insert(branch, edit->at + i, &keys[i], 0);
	return true;
}

void order_branch_edit(struct order *order, unsigned level, const struct order_edit *edit)
{
	struct order_node *branch = order->path[level].node;
	struct parts parts;
	unsigned prefix, old_separators;
	bool appending;

	order->path_valid = false;
	if (level > order->depth) {
		if (edit->added > 1)
			grow_root(order, edit);
		return;
	}
	load_children(branch, &parts, 0);
	appending = edit->at + edit->removed == parts.children && edit->nodes[0] &&
		    edit->added > 1 && order_subtree(edit->nodes[edit->added - 1]) <= 1;
	remove_separators(order, branch, edit);
	old_separators = branch->count;
	edit_children(&parts, edit);
	if (parts.children <= ORDER_CHILDREN_MAX && !is_due(branch, edit) &&
		insert_separators(branch, edit)) {
		store_children(branch, &parts, 0, parts.children);
		return;
	}
	parts.items = order->scratch->items;
	order_page_gather(branch, 0, edit->at, parts.items);
	for (unsigned i = 0; i + 1 < edit->added; i++)
		order_page_gather(edit->separators[i], 0, 1, &parts.items[edit->at + i]);
	order_page_gather(
		branch, edit->at, old_separators, &parts.items[edit->at + edit->added - 1]);
	if (parts.children <= ORDER_CHILDREN_MAX &&
		separators_fit(&parts, 0, parts.children - 1, &prefix))
		build(order, branch, level, &parts, 0, parts.children);
	else
		split(order, level, &parts, appending);
}

/* ---- shrinking ---------------------------------------------------------------------------- */

static void shrink_root(struct order *order)
{
	while (order->root->level && !order->root->count) {
		struct order_node *root = order->root;

		order->root = order_children(root)->nodes[0];
		order->depth--;
		order_pool_give(&order->pool, root);
	}
}

/* Merges children at and at + 1 of the branch above, if they fit. */
static bool merge(struct order *order, unsigned level, unsigned at)
{
	struct order_node *above = order->path[level + 1].node;
	struct order_node *left = order_children(above)->nodes[at];
	struct order_node *right = order_children(above)->nodes[at + 1];
	struct parts parts = {.items = order->scratch->items};
	struct order_edit edit = {.at = at, .removed = 2, .added = 1, .nodes = {left}};
	struct order_long *held = order_page_long(above, at);
	unsigned prefix;

	if (left->count + right->count + 2u > MERGED_MAX)
		return false;
	order_page_gather(left, 0, left->count, parts.items);
	order_page_gather(above, at, at + 1, parts.items + left->count);
	order_page_gather(right, 0, right->count, parts.items + left->count + 1);
	load_children(left, &parts, 0);
	load_children(right, &parts, parts.children);
	if (!separators_fit(&parts, 0, parts.children - 1, &prefix))
		return false;
	if (held)
		held->refs++; /* it is moved down, and the edit drops it above */
	build(order, left, level, &parts, 0, parts.children);
	order_pool_give(&order->pool, right);
	order_branch_edit(order, level + 1, &edit);
	return true;
}

void order_branch_shrink(struct order *order, unsigned level)
{
	for (; level < order->depth; level++) {
		struct order_node *above = order->path[level + 1].node;
		unsigned at = order->path[level + 1].child;

		if (order->path[level].node->count + 1u >= SHRINK_BELOW)
			return;
		if (!(at < above->count && merge(order, level, at)) &&
			!(at > 0 && merge(order, level, at - 1)))
			return;
	}
	shrink_root(order);
}

void order_branch_remove(struct order *order, unsigned level)
{
	struct order_edit edit = {.removed = 1};

	while (!order->path[level].node->count) { /* it was the only child */
		order_pool_give(&order->pool, order->path[level].node);
		level++;
	}
	edit.at = order->path[level].child;
	order_branch_edit(order, level, &edit);
	order_branch_shrink(order, level);
}
