/* SPDX-License-Identifier: MIT */
/*
 * ordered_std.cc - the C++ library's sets: std::set, which must walk for a rank, and the tree of GNU's policy-based data
 * structures with counted subtrees. They keep nothing on disk.
 */
#include "ordered.h"

#include <cerrno>
#include <ext/pb_ds/assoc_container.hpp>
#include <ext/pb_ds/tree_policy.hpp>
#include <iterator>
#include <new>
#include <set>

namespace {

/* entry_key is a function too */
using key_bytes = struct entry_key;

struct less {
	bool operator()(const key_bytes &a, const key_bytes &b) const
	{
		return memcmp(a.text, b.text, ENTRY_KEY_SIZE) < 0;
	}
};

using plain_set = std::set<key_bytes, less>;
using counted_set = __gnu_pbds::tree<key_bytes, __gnu_pbds::null_type, less, __gnu_pbds::rb_tree_tag,
	__gnu_pbds::tree_order_statistics_node_update>;

template <typename Set> Set *of(ordered *set)
{
	return reinterpret_cast<Set *>(set);
}

template <typename Set> int set_open(const char *, ordered **out)
{
	Set *set = new (std::nothrow) Set;

	*out = reinterpret_cast<ordered *>(set);
	return set ? 0 : -ENOMEM;
}

template <typename Set> void set_close(ordered *set)
{
	delete of<Set>(set);
}

template <typename Set> int insert(ordered *set, const key_bytes *key)
{
	of<Set>(set)->insert(*key);
	return 0;
}

int insert_bulk_plain(ordered *set, const key_bytes *keys, unsigned count)
{
	plain_set *plain = of<plain_set>(set);

	for (unsigned i = 0; i < count; i++)
		plain->insert(plain->end(), keys[i]);
	return 0;
}

int insert_bulk_counted(ordered *set, const key_bytes *keys, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		of<counted_set>(set)->insert(keys[i]);
	return 0;
}

template <typename Set> int erase(ordered *set, const key_bytes *key)
{
	of<Set>(set)->erase(*key);
	return 0;
}

int rank_plain(ordered *set, const key_bytes *key, uint64_t *rank)
{
	plain_set *plain = of<plain_set>(set);

	*rank = static_cast<uint64_t>(std::distance(plain->begin(), plain->lower_bound(*key)));
	return 0;
}

int rank_counted(ordered *set, const key_bytes *key, uint64_t *rank)
{
	*rank = of<counted_set>(set)->order_of_key(*key);
	return 0;
}

plain_set::iterator at(plain_set *set, uint64_t position)
{
	return std::next(set->begin(), static_cast<long>(position));
}

counted_set::iterator at(counted_set *set, uint64_t position)
{
	return set->find_by_order(position);
}

template <typename Set> int select_at(ordered *set, uint64_t position, key_bytes *out)
{
	*out = *at(of<Set>(set), position);
	return 0;
}

template <typename Set> int first(ordered *set, key_bytes *out)
{
	*out = *of<Set>(set)->begin();
	return 0;
}

template <typename Set> int last(ordered *set, key_bytes *out)
{
	*out = *std::prev(of<Set>(set)->end());
	return 0;
}

template <typename Set, typename Iterator> int walk(Set *set, Iterator from, unsigned count, uint64_t *sum)
{
	for (; count-- && from != set->end(); ++from)
		*sum += ordered_see(from->text);
	return 0;
}

template <typename Set> int range_by_position(ordered *set, uint64_t position, unsigned count, uint64_t *sum)
{
	return walk(of<Set>(set), at(of<Set>(set), position), count, sum);
}

template <typename Set> int range_by_key(ordered *set, const key_bytes *from, unsigned count, uint64_t *sum)
{
	return walk(of<Set>(set), of<Set>(set)->lower_bound(*from), count, sum);
}

template <typename Set> ordered_ops ops(const char *name, const char *about)
{
	ordered_ops ops = {};

	ops.name = name;
	ops.about = about;
	ops.open = set_open<Set>;
	ops.close = set_close<Set>;
	ops.insert = insert<Set>;
	ops.remove = erase<Set>;
	ops.select = select_at<Set>;
	ops.first = first<Set>;
	ops.last = last<Set>;
	ops.range_by_position = range_by_position<Set>;
	ops.range_by_key = range_by_key<Set>;
	return ops;
}

ordered_ops plain_ops()
{
	ordered_ops made = ops<plain_set>("std-set", "std::set");

	made.insert_bulk = insert_bulk_plain;
	made.rank = rank_plain;
	made.slow_rank = 1;
	return made;
}

ordered_ops counted_ops()
{
	ordered_ops made = ops<counted_set>("counted-tree", "__gnu_pbds red-black tree with order statistics");

	made.insert_bulk = insert_bulk_counted;
	made.rank = rank_counted;
	return made;
}

} // namespace

extern "C" const ordered_ops ordered_set = plain_ops();
extern "C" const ordered_ops ordered_counted = counted_ops();
