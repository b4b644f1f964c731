/* SPDX-License-Identifier: MIT */
/*
 * order_leaf.c - leaves of the ordered index that are too full or too empty.
 *
 * Every reshaping is one plan: the keys of one leaf, or of two that are siblings, and perhaps a new
 * key, are dealt to one, two or three leaves. A full leaf tries, in this order: a better prefix and
 * no garbage; a split where keys are arriving in order, which leaves full leaves behind; an even
 * share with a sibling that has room; two full siblings to three leaves; two halves. So leaves that
 * fill in random order are about five sixths full, those that fill in order are full. The writer
 * alone comes here, inside the closed gate.
 */
#include <assert.h>
#include <stdlib.h>

#include "order_node.h"

#define LEAF_ROOM (ORDER_NODE_SIZE - 48u) /* bytes for prefix, slots and items */
#define REGAINED_MIN (LEAF_ROOM / 16)     /* building a leaf again for less room is not worth it */
#define SHARED_MAX (LEAF_ROOM * 7 / 8)    /* a sibling fuller than this has nothing to share */
#define SHRINK_BELOW (LEAF_ROOM / 3)
#define MERGED_ROOM_MIN (LEAF_ROOM / 4) /* a merged leaf keeps this much room for what comes */
#define RUN_MIN 4                       /* inserts in a row that make a run of keys in order */

/* The items of `sources` go to `outs` leaves: leaf i gets items [cut[i], cut[i + 1]). */
struct plan {
	struct order_item_ref *items;
	unsigned count, sources, outs;
	struct order_node *nodes[3]; /* the sources, and then new ones */
	unsigned at;                 /* child number of the first source */
	unsigned cut[4], prefix[3];
	unsigned key; /* item that is the new key; count if there is none */
	int8_t run;   /* for the leaf that gets it */
};

void order_leaf_touch(struct order *order, struct order_node *leaf)
{
	/* Pairs with the load in order_walk_next. */
	atomic_store_explicit(&leaf->version, ++order->version, memory_order_release);
}

/* ---- planning ----------------------------------------------------------------------------- */

static void plan_gather(
	struct order *order, struct plan *plan, struct order_node *first, struct order_node *second)
{
	plan->items = order->scratch->items;
	plan->sources = second ? 2 : 1;
	plan->nodes[0] = first;
	plan->nodes[1] = second;
	plan->count = first->count;
	order_page_gather(first, 0, first->count, plan->items);
	if (second) {
		order_page_gather(second, 0, second->count, plan->items + plan->count);
		plan->count += second->count;
	}
	plan->key = plan->count;
}

static void plan_add_key(struct order *order, struct plan *plan, unsigned index)
{
	memmove(plan->items + index + 1, plan->items + index,
		(plan->count - index) * sizeof(*plan->items));
	order_page_gather(order_scratch_page(order, ORDER_SCRATCH_KEY), 0, 1, plan->items + index);
	plan->count++;
	plan->key = index;
}

/* Does each leaf have room for its items, and `spare` bytes more? */
static bool plan_fits(struct plan *plan, unsigned spare)
{
	for (unsigned out = 0; out < plan->outs; out++) {
		unsigned from = plan->cut[out], to = plan->cut[out + 1];

		if (from >= to || !order_page_choose(0, plan->items + from, to - from, spare,
					  &plan->prefix[out]))
			return false;
	}
	return true;
}

static bool plan_cut(struct plan *plan, unsigned at)
{
	plan->outs = 2;
	plan->cut[0] = 0;
	plan->cut[1] = at;
	plan->cut[2] = plan->count;
	return plan_fits(plan, 0);
}

/* Deals the items to leaves of about the same bytes. */
static bool plan_even(struct plan *plan, unsigned outs, unsigned spare)
{
	unsigned prefix = order_page_common(&plan->items[0], &plan->items[plan->count - 1]);
	unsigned total = 0, done = 0, out = 1;

	for (unsigned i = 0; i < plan->count; i++)
		total += order_cost(0, plan->items[i].size, prefix);
	plan->outs = outs;
	plan->cut[0] = 0;
	for (unsigned i = 0; i < plan->count && out < outs; i++) {
		done += order_cost(0, plan->items[i].size, prefix);
		if (done >= total / outs * out)
			plan->cut[out++] = i + 1;
	}
	while (out <= outs)
		plan->cut[out++] = plan->count;
	return plan_fits(plan, spare);
}

/* ---- carrying out ------------------------------------------------------------------------- */

static void leaf_link(struct order *order, struct order_node *leaf, struct order_node *prev)
{
	leaf->prev = prev;
	leaf->next = prev->next;
	if (leaf->next)
		leaf->next->prev = leaf;
	else
		order->last = leaf;
	prev->next = leaf;
}

static void leaf_give(struct order *order, struct order_node *leaf)
{
	if (leaf->prev)
		leaf->prev->next = leaf->next;
	else
		order->first = leaf->next;
	if (leaf->next)
		leaf->next->prev = leaf->prev;
	else
		order->last = leaf->prev;
	order_leaf_touch(order, leaf);
	order_pool_give(&order->pool, leaf);
}

/* Does the first leaf keep what it has, neither more nor less? At the end of a run. */
static bool plan_keeps_first(const struct plan *plan)
{
	return plan->sources == 1 && plan->outs > 1 && plan->key >= plan->cut[1] &&
	       plan->cut[1] == plan->nodes[0]->count;
}

static void plan_carry_out(struct order *order, struct plan *plan)
{
	struct order_edit edit = {.at = plan->at, .removed = plan->sources, .added = plan->outs};
	bool keeps_first = plan_keeps_first(plan);

	for (unsigned i = 0; i < plan->outs; i++) {
		unsigned from = plan->cut[i], to = plan->cut[i + 1];
		struct order_node *page = order_scratch_page(order, ORDER_SCRATCH_OUT + i);

		if (i || !keeps_first)
			order_page_build(page, 0, plan->items + from, to - from, plan->prefix[i]);
		if (plan->key >= from && plan->key < to) {
			page->last_insert = (uint16_t)(plan->key - from);
			page->run = plan->run;
		}
		if (i) {
			page = order_scratch_page(order, ORDER_SCRATCH_SEPARATOR + i - 1);
			order_page_separator(page, &plan->items[from - 1], &plan->items[from]);
			edit.separators[i - 1] = page;
		}
	}
	for (unsigned i = 0; i < plan->outs; i++) {
		if (i >= plan->sources) {
			plan->nodes[i] = order_pool_take(&order->pool, 0);
			leaf_link(order, plan->nodes[i], plan->nodes[i - 1]);
		}
		if (i || !keeps_first)
			order_page_copy(plan->nodes[i],
					order_scratch_page(order, ORDER_SCRATCH_OUT + i));
		else
			plan->nodes[i]->run = 0;
		order_leaf_touch(order, plan->nodes[i]);
		edit.nodes[i] = plan->nodes[i];
	}
	for (unsigned i = plan->outs; i < plan->sources; i++)
		leaf_give(order, plan->nodes[i]);
	if (plan->sources > 1 || plan->outs > 1)
		order_branch_edit(order, 1, &edit);
}

/* ---- too full ----------------------------------------------------------------------------- */

/*
 * A leaf that begins with one key of a run would have all of it for its prefix, and be built again
 * with each digit that the next ones change: what fits a head costs no room, so the prefix is the
 * last leaf's.
 */
static void plan_foresee(struct plan *plan)
{
	unsigned out = plan->key == plan->cut[1] ? 1 : 0, prefix = plan->nodes[0]->prefix_size;
	const struct order_item_ref *key = &plan->items[plan->key];

	if (plan->cut[out + 1] - plan->cut[out] > 1)
		return;
	if (prefix + ORDER_HEAD_SIZE < key->size)
		prefix = key->size - ORDER_HEAD_SIZE;
	if (prefix < plan->prefix[out])
		plan->prefix[out] = prefix;
}

/* Keys that arrive in order: the new one goes where the next can be put beside it, behind (or
 * before) a full leaf. */
static bool overflow_run(struct plan *plan, unsigned index)
{
	unsigned keys = plan->nodes[0]->count;
	bool cut = false;

	if (plan->run >= RUN_MIN)
		cut = plan_cut(plan, index == keys ? index : index + 1);
	else if (plan->run <= -RUN_MIN)
		cut = plan_cut(plan, index == 0 ? 1 : index);
	if (cut)
		plan_foresee(plan);
	return cut;
}

/* A key at either end that shares too little with the others: to the neighbour, or alone. */
static void overflow_stranger(struct order *order, struct plan *plan, unsigned index)
{
	struct order_node *leaf = order->path[0].node, *parent = order->path[1].node;
	unsigned at = order->depth ? order->path[1].child : 0;

	if (order->depth && !index && at > 0) {
		struct order_node *left = order_children(parent)->nodes[at - 1];

		plan_gather(order, plan, left, leaf);
		plan_add_key(order, plan, left->count);
		plan->at = at - 1;
		if (plan_cut(plan, left->count + 1u))
			return;
	} else if (order->depth && index && at < parent->count) {
		plan_gather(order, plan, leaf, order_children(parent)->nodes[at + 1]);
		plan_add_key(order, plan, index);
		plan->at = at;
		if (plan_cut(plan, index))
			return;
	}
	plan_gather(order, plan, leaf, NULL);
	plan_add_key(order, plan, index);
	plan->at = at;
	bool fits = plan_cut(plan, index ? index : 1);
	assert(fits);
	(void)fits;
}

/* Shares with the emptier sibling, or splits two into three. */
static bool overflow_siblings(struct order *order, struct plan *plan, unsigned index)
{
	struct order_node *leaf = order->path[0].node, *parent = order->path[1].node;
	struct order_node *left = NULL, *right = NULL;
	unsigned at = order->path[1].child, used;

	if (!order->depth || !parent->count)
		return false;
	if (at > 0)
		left = order_children(parent)->nodes[at - 1];
	if (at < parent->count)
		right = order_children(parent)->nodes[at + 1];
	if (left && right) {
		if (order_page_used(left) < order_page_used(right))
			right = NULL;
		else
			left = NULL;
	}
	used = order_page_used(left ? left : right);
	plan_gather(order, plan, left ? left : leaf, left ? leaf : right);
	plan_add_key(order, plan, left ? left->count + index : index);
	plan->at = left ? at - 1 : at;
	if (used <= SHARED_MAX && plan_even(plan, 2, REGAINED_MIN))
		return true;
	return plan_even(plan, 3, REGAINED_MIN);
}

static void plan_alone(struct order *order, struct plan *plan, unsigned index)
{
	plan_gather(order, plan, order->path[0].node, NULL);
	plan_add_key(order, plan, index);
	plan->at = order->depth ? order->path[1].child : 0;
	plan->outs = 1;
	plan->cut[1] = plan->count;
}

/* Could the leaf, built again, have room enough to be worth it? An upper bound, without looking at
 * every key. */
static bool overflow_may_regain(struct order *order, unsigned index)
{
	const struct order_node *leaf = order->path[0].node;
	const struct order_node *page = order_scratch_page(order, ORDER_SCRATCH_KEY);
	struct order_item_ref key = {page, 0, 0}, first = {leaf, 0, 0};
	struct order_item_ref last = {leaf, (uint16_t)(leaf->count - 1), 0};
	unsigned prefix =
		order_page_common(index ? &first : &key, index < leaf->count ? &last : &key);

	return prefix < leaf->prefix_size ||
	       leaf->garbage + leaf->count * (prefix - leaf->prefix_size) >= REGAINED_MIN;
}

void order_leaf_overflow(
	struct order *order, unsigned index, const struct order_key *key, uint64_t address)
{
	struct order_node *leaf = order->path[0].node;
	struct order_node *page = order_scratch_page(order, ORDER_SCRATCH_KEY);
	bool stranger =
		key->size < leaf->prefix_size || memcmp(key->bytes, leaf->bytes, leaf->prefix_size);
	bool run = leaf->run >= RUN_MIN || leaf->run <= -RUN_MIN, planned = false, regains;
	struct plan plan = {.run = leaf->run};

	order_page_init(page, 0, 0);
	order_page_insert(page, 0, key, address);
	regains = overflow_may_regain(order, index);
	if (run || regains) {
		plan_alone(order, &plan, index);
		planned = (regains && plan_fits(&plan, stranger ? 0 : REGAINED_MIN)) ||
			  overflow_run(&plan, index);
	}
	if (!planned && stranger) {
		overflow_stranger(order, &plan, index);
	} else if (!planned && !overflow_siblings(order, &plan, index)) {
		plan_alone(order, &plan, index);
		planned = plan_even(&plan, 2, 0);
		assert(planned);
	}
	plan_carry_out(order, &plan);
}

/* ---- too empty ---------------------------------------------------------------------------- */

static bool shrink_with(struct order *order, unsigned at)
{
	struct order_node *parent = order->path[1].node;
	struct plan plan = {.outs = 1, .at = at};

	plan_gather(order, &plan, order_children(parent)->nodes[at],
		order_children(parent)->nodes[at + 1]);
	plan.cut[1] = plan.count;
	if (!plan_fits(&plan, MERGED_ROOM_MIN))
		return false;
	plan_carry_out(order, &plan);
	order_branch_shrink(order, 1);
	return true;
}

void order_leaf_shrink(struct order *order)
{
	struct order_node *leaf = order->path[0].node, *parent = order->path[1].node;
	unsigned at = order->path[1].child;

	if (!order->depth || order_page_used(leaf) >= SHRINK_BELOW)
		return;
	if (!leaf->count) {
		leaf_give(order, leaf);
		order_branch_remove(order, 1);
		return;
	}
	if (at < parent->count && shrink_with(order, at))
		return;
	if (at > 0)
		(void)shrink_with(order, at - 1);
}
