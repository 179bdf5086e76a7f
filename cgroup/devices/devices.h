/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DEVICES_DEVICES_H
#define CGROUP_DEVICES_DEVICES_H

/*
 * cgroup/devices/ says which devices a cgroup may use: one ordered list of OCI rules, one meaning,
 * three ways to put it into force.
 *
 * Meaning (runtime-spec config-linux.md "Allowed Device list"): a request asks for a device (type,
 * major, minor) and one or more of read, write, mknod. Each asked-for bit is decided by the last
 * rule that matches the device and names the bit; a bit that no rule decides is denied. The request
 * is allowed when all its bits are.
 *
 * A list is compiled into a table: for every class of devices that the rules tell apart, the bits
 * that are allowed. v1 files, the v2 program and systemd's DeviceAllow are all made from the table,
 * so they cannot disagree.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;

#define CG_DEV_ANY (-1)

enum cg_dev_access { CG_DEV_R = 1, CG_DEV_W = 2, CG_DEV_M = 4, CG_DEV_RWM = 7 };

struct cg_dev_rule {
    bool allow;
    char type;            /* 'a' (both), 'b', 'c' */
    int64_t major, minor; /* CG_DEV_ANY or a number; one that no device can have matches nothing */
    uint8_t access;       /* CG_DEV_* bits, not 0 */
};

struct cg_dev_index;

struct cg_dev_rules {
    struct cg_dev_rule *items; /* in an arena */
    size_t count;
    struct cg_dev_index *index; /* cg_dev_rules_add()'s own; NULL to begin with */
};

/*
 * Append; a rule that is equal by value to one in the list already, with only rules of the same
 * verdict (allow or deny) between them, is left out: it could change nothing. So a row of allows
 * never holds the same rule twice. Constant time. Rules in the list may be appended by other means
 * too, but are not changed in place once this function was used on it.
 */
void cg_dev_rules_add(struct arena *a, struct cg_dev_rules *rules, struct cg_dev_rule rule);

/* Whether the lists have the same rules in the same order. */
bool cg_dev_rules_same(const struct cg_dev_rules *a, const struct cg_dev_rules *b);

/* "rwm" for access bits, "c 1:3 rwm" for a rule as v1 files write it. @buf is returned. */
const char *cg_dev_access_text(uint8_t access, char buf[static 4]);
const char *cg_dev_rule_text(const struct cg_dev_rule *rule, char buf[static 48]);

/* "r", "rw", "mrw", ... -> bits. 0; -EINVAL empty, another letter, or a letter twice. */
int cg_dev_access_parse(const char *text, uint8_t *ret);

/* The verdict straight from the list, one bit at a time: slow and obvious, the model for tests. */
bool cg_dev_rules_allow(const struct cg_dev_rules *rules, char type, uint32_t major, uint32_t minor,
                        uint8_t access);

/*
 * The compiled form. Entries are sorted by (type, major, minor) with numbers before CG_DEV_ANY, and
 * a lookup takes the most specific entry: (M, m), then (M, any), then (any, m), then (any, any).
 * Every entry states all bits allowed for its class, so nothing is added up along the way. An entry
 * that says the same as the one it would fall back to is not in the table.
 */
struct cg_dev_entry {
    char type;            /* 'b' or 'c' */
    int64_t major, minor; /* CG_DEV_ANY or a number */
    uint8_t access;       /* allowed bits, may be 0 */
};

/* In that order; for qsort(3) and bsearch(3). */
int cg_dev_entry_compare(const void *a, const void *b);

/* The entry's class with these bits as v1 files write it: "c 1:3 rwm". @buf is returned. */
const char *cg_dev_entry_text(const struct cg_dev_entry *entry, uint8_t access,
                              char buf[static 48]);

struct cg_dev_table {
    struct cg_dev_entry *items; /* in an arena */
    size_t count;
};

/*
 * Compile. 0; -E2BIG when (major, any) and (any, minor) rules of one type multiply beyond 65,536
 * classes. The time is that of sorting the rules.
 */
int cg_dev_compile(const struct cg_dev_rules *rules, struct arena *a, struct cg_dev_table *ret,
                   struct err *e);

/*
 * Device lists of several containers become one: each bit of a class is allowed when any list
 * allows it, so every request that one list allows is allowed. A request for several bits at once
 * may be allowed although no single list allows all of them (one allows reading, another writing):
 * two opens would have got the same. Errors as cg_dev_compile().
 */
int cg_dev_union(const struct cg_dev_table *tables, size_t count, struct arena *a,
                 struct cg_dev_table *ret, struct err *e);

/* A list that is compiled to the same table, for who has more rules to put behind it. */
void cg_dev_rules_of(const struct cg_dev_table *t, struct arena *a, struct cg_dev_rules *ret);

#endif
