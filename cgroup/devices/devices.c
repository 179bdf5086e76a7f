/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/devices.h"

#include "base/arena.h"
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BITS          3
#define CLASSES_MAX   65536
#define INDEX_INITIAL 64

/* One class of devices and what a list says about it: for each bit, the last rule that names it. */
struct layer {
    struct cg_dev_entry key; /* access: bits that the last rule naming them allows */
    uint32_t when[BITS];     /* 1 + index of that rule, 0: no rule */
};

/*
 * A list seen as a function from classes to bits, with the classes at which it may change value.
 * Both rule lists and unions of tables become tables through it.
 */
struct space {
    const struct cg_dev_entry *keys; /* sorted, unique */
    size_t count;
    uint8_t (*bits)(const struct space *s, char type, int64_t major, int64_t minor);
    const struct layer *layers;       /* of a rule list, one for each key */
    const struct cg_dev_table *left;  /* of a union */
    const struct cg_dev_table *right; /* of a union */
};

/* Numbers that a request can have, in the kernel's interfaces 32 bits wide. */
static bool is_number(int64_t n)
{
    return n >= 0 && n <= UINT32_MAX;
}

static bool is_type(char type)
{
    return type == 'b' || type == 'c';
}

/* CG_DEV_ANY is -1 and so becomes the largest: behind all numbers. */
static int compare_numbers(int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;

    return (x > y) - (x < y);
}

static int compare_class(const struct cg_dev_entry *e, char type, int64_t major, int64_t minor)
{
    int r = (e->type > type) - (e->type < type);

    if (r == 0)
        r = compare_numbers(e->major, major);
    return r ? r : compare_numbers(e->minor, minor);
}

int cg_dev_entry_compare(const void *a, const void *b)
{
    const struct cg_dev_entry *x = a, *y = b;

    return compare_class(x, y->type, y->major, y->minor);
}

const char *cg_dev_access_text(uint8_t access, char buf[static 4])
{
    char *p = buf;

    if (access & CG_DEV_R)
        *p++ = 'r';
    if (access & CG_DEV_W)
        *p++ = 'w';
    if (access & CG_DEV_M)
        *p++ = 'm';
    *p = '\0';
    return buf;
}

static const char *number_text(int64_t n, char buf[static 24])
{
    if (n == CG_DEV_ANY)
        return "*";
    snprintf(buf, 24, "%lld", (long long)n);
    return buf;
}

const char *cg_dev_rule_text(const struct cg_dev_rule *rule, char buf[static 48])
{
    char major[24], minor[24], access[4];

    snprintf(buf, 48, "%c %.20s:%.20s %s", rule->type, number_text(rule->major, major),
             number_text(rule->minor, minor), cg_dev_access_text(rule->access, access));
    return buf;
}

const char *cg_dev_entry_text(const struct cg_dev_entry *entry, uint8_t access, char buf[static 48])
{
    const struct cg_dev_rule rule = {
        .type = entry->type, .major = entry->major, .minor = entry->minor, .access = access};

    return cg_dev_rule_text(&rule, buf);
}

int cg_dev_access_parse(const char *text, uint8_t *ret)
{
    uint8_t access = 0;

    for (const char *p = text; *p; p++) {
        uint8_t bit = *p == 'r' ? CG_DEV_R : *p == 'w' ? CG_DEV_W : *p == 'm' ? CG_DEV_M : 0;

        if (bit == 0 || access & bit)
            return -EINVAL;
        access |= bit;
    }
    if (access == 0)
        return -EINVAL;
    *ret = access;
    return 0;
}

/* --- the list of rules --- */

/* Where each distinct rule of a list was seen last: a hash table with open addressing. */
struct cg_dev_index {
    size_t seen;     /* rules of the list that are in it */
    size_t last[2];  /* 1 + index of the last denying and the last allowing rule, 0: none */
    size_t capacity; /* a power of two, more than twice what is in it */
    size_t *slots;   /* 1 + index of a rule, 0: free */
};

static bool same_rule(const struct cg_dev_rule *a, const struct cg_dev_rule *b)
{
    return a->allow == b->allow && a->type == b->type && a->major == b->major &&
           a->minor == b->minor && a->access == b->access;
}

bool cg_dev_rules_same(const struct cg_dev_rules *a, const struct cg_dev_rules *b)
{
    for (size_t i = 0; a->count == b->count && i < a->count; i++)
        if (!same_rule(&a->items[i], &b->items[i]))
            return false;
    return a->count == b->count;
}

static size_t hash_rule(const struct cg_dev_rule *rule)
{
    uint64_t h = (uint64_t)rule->major * 0x9e3779b97f4a7c15u;

    h = (h ^ h >> 32 ^ (uint64_t)rule->minor) * 0xd6e8feb86659fd93u;
    h = (h ^ h >> 32 ^
         ((uint64_t)(uint8_t)rule->type << 8 | (uint64_t)rule->access << 1 |
          (uint64_t)rule->allow)) *
        0xd6e8feb86659fd93u;
    return (size_t)(h ^ h >> 32);
}

/* The slot of an equal rule, or the free one where it belongs. */
static size_t *find_slot(const struct cg_dev_rules *rules, const struct cg_dev_rule *rule)
{
    const struct cg_dev_index *index = rules->index;
    size_t mask = index->capacity - 1, i = hash_rule(rule) & mask;

    while (index->slots[i] && !same_rule(&rules->items[index->slots[i] - 1], rule))
        i = (i + 1) & mask;
    return &index->slots[i];
}

static void index_rule(struct cg_dev_rules *rules, size_t position)
{
    const struct cg_dev_rule *rule = &rules->items[position];

    *find_slot(rules, rule) = position + 1;
    rules->index->last[rule->allow] = position + 1;
    rules->index->seen = position + 1;
}

static void build_index(struct arena *a, struct cg_dev_rules *rules)
{
    struct cg_dev_index *index = arena_alloc(a, sizeof *index);

    index->capacity = INDEX_INITIAL;
    while (index->capacity <= rules->count * 2)
        index->capacity *= 2;
    index->slots = arena_alloc(a, index->capacity * sizeof *index->slots);
    rules->index = index;
    for (size_t i = 0; i < rules->count; i++)
        index_rule(rules, i);
}

void cg_dev_rules_add(struct arena *a, struct cg_dev_rules *rules, struct cg_dev_rule rule)
{
    size_t known;

    if (!rules->index || rules->index->seen != rules->count ||
        rules->count * 2 >= rules->index->capacity)
        build_index(a, rules);
    known = *find_slot(rules, &rule);
    if (known > rules->index->last[!rule.allow])
        return;
    ARENA_APPEND(a, rules->items, rules->count) = rule;
    index_rule(rules, rules->count - 1);
}

static bool rule_matches(const struct cg_dev_rule *rule, char type, uint32_t major, uint32_t minor)
{
    return (rule->type == type || rule->type == 'a') &&
           (rule->major == CG_DEV_ANY || rule->major == major) &&
           (rule->minor == CG_DEV_ANY || rule->minor == minor);
}

bool cg_dev_rules_allow(const struct cg_dev_rules *rules, char type, uint32_t major, uint32_t minor,
                        uint8_t access)
{
    if (!is_type(type))
        return false;
    for (unsigned bit = CG_DEV_R; bit <= CG_DEV_M; bit <<= 1) {
        bool allowed = false;

        for (size_t i = 0; i < rules->count; i++) {
            const struct cg_dev_rule *rule = &rules->items[i];

            if (rule->access & bit && rule_matches(rule, type, major, minor))
                allowed = rule->allow;
        }
        if (access & bit && !allowed)
            return false;
    }
    return true;
}

/* --- looking things up in sorted arrays --- */

/* Index of the first entry that is not before the class. */
static size_t lower_bound(const struct cg_dev_entry *items, size_t count, char type, int64_t major,
                          int64_t minor)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (compare_class(&items[mid], type, major, minor) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Index of the entry of exactly this class; @count when there is none. */
static size_t find_entry(const struct cg_dev_entry *items, size_t count, char type, int64_t major,
                         int64_t minor)
{
    size_t i = lower_bound(items, count, type, major, minor);

    return i < count && compare_class(&items[i], type, major, minor) == 0 ? i : count;
}

/*
 * The bits of a class. CG_DEV_ANY as a number stands for one that no entry names, so the answer for
 * (major, any) is that of the major's entry, or else of (any, any).
 */
static uint8_t table_bits(const struct cg_dev_table *t, char type, int64_t major, int64_t minor)
{
    const int64_t classes[][2] = {
        {major, minor}, {major, CG_DEV_ANY}, {CG_DEV_ANY, minor}, {CG_DEV_ANY, CG_DEV_ANY}};

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        size_t found = find_entry(t->items, t->count, type, classes[i][0], classes[i][1]);

        if (found < t->count)
            return t->items[found].access;
    }
    return 0;
}

/* --- from classes to a table --- */

static bool is_line(const struct cg_dev_entry *e)
{
    return e->major == CG_DEV_ANY || e->minor == CG_DEV_ANY;
}

static void push_entry(struct arena *a, struct cg_dev_table *t, char type, int64_t major,
                       int64_t minor, uint8_t access)
{
    ARENA_APPEND(a, t->items, t->count) =
        (struct cg_dev_entry){.type = type, .major = major, .minor = minor, .access = access};
}

/*
 * Where a (major, any) and an (any, minor) meet, the device may need an entry though no rule names
 * it: the table asks the major first, but the rule on the minor may be the later one.
 */
static int add_crossings(const struct space *s, char type, const struct cg_dev_table *lines,
                         struct arena *scratch, struct cg_dev_table *points, struct err *e)
{
    /* Sorted: (major, ...) keys, then those of any major with a minor, then (any, any). */
    size_t first = lower_bound(s->keys, s->count, type, 0, 0);
    size_t minors_at = lower_bound(s->keys, s->count, type, CG_DEV_ANY, 0);
    size_t end = lower_bound(s->keys, s->count, type, CG_DEV_ANY, CG_DEV_ANY);
    size_t majors = 0, minors = end - minors_at;

    if (minors == 0)
        return 0;
    for (size_t i = first; i < minors_at; i++)
        majors += s->keys[i].minor == CG_DEV_ANY;
    if (majors > CLASSES_MAX / minors)
        return err_set(
            e, -E2BIG,
            "%zu device rules on a major number and %zu on a minor number alone make more "
            "than %d classes of %s devices; name the devices instead",
            majors, minors, CLASSES_MAX, type == 'b' ? "block" : "character");
    for (size_t i = first; i < minors_at; i++) {
        int64_t major = s->keys[i].major;

        if (s->keys[i].minor != CG_DEV_ANY)
            continue;
        for (size_t k = minors_at; k < end; k++) {
            int64_t minor = s->keys[k].minor;
            uint8_t bits = s->bits(s, type, major, minor);

            if (bits != table_bits(lines, type, major, minor) &&
                find_entry(s->keys, s->count, type, major, minor) == s->count)
                push_entry(scratch, points, type, major, minor, bits);
        }
    }
    return 0;
}

static int make_table(const struct space *s, struct arena *a, struct cg_dev_table *ret,
                      struct err *e)
{
    autoarena scratch = ARENA_INIT;
    struct cg_dev_table lines = {0}, points = {0};
    const uint8_t all_bits[] = {s->bits(s, 'b', CG_DEV_ANY, CG_DEV_ANY),
                                s->bits(s, 'c', CG_DEV_ANY, CG_DEV_ANY)};
    int r;

    /* Lines first: what a device of its own entry falls back to depends on which of them stay. */
    for (size_t i = 0; i < s->count; i++) {
        const struct cg_dev_entry *key = &s->keys[i];
        bool is_all = key->major == CG_DEV_ANY && key->minor == CG_DEV_ANY;
        uint8_t bits;

        if (!is_line(key))
            continue;
        bits = s->bits(s, key->type, key->major, key->minor);
        if (bits != (is_all ? 0 : all_bits[key->type == 'c']))
            push_entry(&scratch, &lines, key->type, key->major, key->minor, bits);
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct cg_dev_entry *key = &s->keys[i];
        uint8_t bits;

        if (is_line(key))
            continue;
        bits = s->bits(s, key->type, key->major, key->minor);
        if (bits != table_bits(&lines, key->type, key->major, key->minor))
            push_entry(&scratch, &points, key->type, key->major, key->minor, bits);
    }
    r = add_crossings(s, 'b', &lines, &scratch, &points, e);
    if (r == 0)
        r = add_crossings(s, 'c', &lines, &scratch, &points, e);
    if (r < 0)
        return r;

    ret->count = lines.count + points.count;
    ret->items = arena_alloc(a, ret->count * sizeof *ret->items);
    if (lines.count > 0)
        memcpy(ret->items, lines.items, lines.count * sizeof *ret->items);
    if (points.count > 0)
        memcpy(ret->items + lines.count, points.items, points.count * sizeof *ret->items);
    if (ret->count > 1)
        qsort(ret->items, ret->count, sizeof *ret->items, cg_dev_entry_compare);
    return 0;
}

/* --- compiling rules --- */

/* Sorted by class, and by position in the list within one class. */
struct keyed_rule {
    struct cg_dev_entry key;
    const struct cg_dev_rule *rule;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed_rule *x = a, *y = b;
    int r = cg_dev_entry_compare(&x->key, &y->key);

    return r ? r : (x->rule > y->rule) - (x->rule < y->rule);
}

/* The rules that can match a device at all, by class; 'a' counts for both types. */
static size_t sort_rules(const struct cg_dev_rules *rules, struct keyed_rule *sorted)
{
    size_t n = 0;

    for (size_t i = 0; i < rules->count; i++) {
        const struct cg_dev_rule *rule = &rules->items[i];

        if ((rule->major != CG_DEV_ANY && !is_number(rule->major)) ||
            (rule->minor != CG_DEV_ANY && !is_number(rule->minor)))
            continue;
        for (const char *type = "bc"; *type; type++) {
            if (rule->type == *type || rule->type == 'a')
                sorted[n++] = (struct keyed_rule){
                    .key = {.type = *type, .major = rule->major, .minor = rule->minor},
                    .rule = rule};
        }
    }
    if (n > 1)
        qsort(sorted, n, sizeof *sorted, compare_keyed);
    return n;
}

static void apply_rule(struct layer *layer, const struct cg_dev_rule *rule, size_t position)
{
    for (unsigned bit = 0; bit < BITS; bit++) {
        if (rule->access & 1u << bit)
            layer->when[bit] = (uint32_t)position + 1;
    }
    if (rule->allow)
        layer->key.access |= rule->access & CG_DEV_RWM;
    else
        layer->key.access &= (uint8_t)~rule->access;
}

/* Let a layer decide the bits that it decides later than what was looked at before. */
static void merge_layer(struct layer *total, const struct layer *layer)
{
    for (unsigned bit = 0; bit < BITS; bit++) {
        uint8_t mask = (uint8_t)(1u << bit);

        if (layer->when[bit] > total->when[bit]) {
            total->when[bit] = layer->when[bit];
            total->key.access = (uint8_t)((total->key.access & ~mask) | (layer->key.access & mask));
        }
    }
}

static uint8_t layered_bits(const struct space *s, char type, int64_t major, int64_t minor)
{
    const int64_t classes[][2] = {
        {major, minor}, {major, CG_DEV_ANY}, {CG_DEV_ANY, minor}, {CG_DEV_ANY, CG_DEV_ANY}};
    struct layer total = {0};

    /* A class with CG_DEV_ANY in it is looked up twice here, which changes nothing. */
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        size_t found = find_entry(s->keys, s->count, type, classes[i][0], classes[i][1]);

        if (found < s->count)
            merge_layer(&total, &s->layers[found]);
    }
    return total.key.access;
}

int cg_dev_compile(const struct cg_dev_rules *rules, struct arena *a, struct cg_dev_table *ret,
                   struct err *e)
{
    autoarena scratch = ARENA_INIT;
    struct keyed_rule *sorted = arena_alloc(&scratch, rules->count * 2 * sizeof *sorted);
    struct space space = {.bits = layered_bits};
    struct cg_dev_entry *keys;
    struct layer *layers;
    size_t n = sort_rules(rules, sorted), count = 0;

    keys = arena_alloc(&scratch, n * sizeof *keys);
    layers = arena_alloc(&scratch, n * sizeof *layers);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || cg_dev_entry_compare(&sorted[i].key, &sorted[i - 1].key) != 0) {
            layers[count].key = sorted[i].key;
            keys[count++] = sorted[i].key;
        }
        apply_rule(&layers[count - 1], sorted[i].rule, (size_t)(sorted[i].rule - rules->items));
    }
    space.keys = keys;
    space.layers = layers;
    space.count = count;
    return make_table(&space, a, ret, e);
}

/* --- unions --- */

static uint8_t united_bits(const struct space *s, char type, int64_t major, int64_t minor)
{
    return table_bits(s->left, type, major, minor) | table_bits(s->right, type, major, minor);
}

static int unite(const struct cg_dev_table *left, const struct cg_dev_table *right, struct arena *a,
                 struct cg_dev_table *ret, struct err *e)
{
    autoarena scratch = ARENA_INIT;
    struct space space = {.bits = united_bits, .left = left, .right = right};
    struct cg_dev_entry *keys;
    size_t i = 0, k = 0, n = 0;

    keys = arena_alloc(&scratch, (left->count + right->count) * sizeof *keys);
    while (i < left->count || k < right->count) {
        int r = i == left->count    ? 1
                : k == right->count ? -1
                                    : cg_dev_entry_compare(&left->items[i], &right->items[k]);

        keys[n++] = r <= 0 ? left->items[i] : right->items[k];
        i += r <= 0;
        k += r >= 0;
    }
    space.keys = keys;
    space.count = n;
    return make_table(&space, a, ret, e);
}

/* In pairs, and pairs of pairs: each entry is looked at once per round. */
static int unite_pairs(const struct cg_dev_table *tables, size_t count, struct arena *a,
                       struct cg_dev_table *ret, struct err *e)
{
    autoarena scratch = ARENA_INIT;
    const struct cg_dev_table empty = {0};
    struct cg_dev_table *round = arena_alloc(&scratch, (count + 1) * sizeof *round);

    if (count > 0)
        memcpy(round, tables, count * sizeof *round);
    for (; count > 2; count = (count + 1) / 2) {
        for (size_t i = 0; i < count; i += 2) {
            struct cg_dev_table united = round[i];
            int r = i + 1 < count ? unite(&round[i], &round[i + 1], &scratch, &united, e) : 0;

            if (r < 0)
                return r;
            round[i / 2] = united;
        }
    }
    return unite(count > 0 ? &round[0] : &empty, count > 1 ? &round[1] : &empty, a, ret, e);
}

/* How much a list says of all devices at once. */
static int width(const struct cg_dev_table *t)
{
    return __builtin_popcount(table_bits(t, 'b', CG_DEV_ANY, CG_DEV_ANY)) +
           __builtin_popcount(table_bits(t, 'c', CG_DEV_ANY, CG_DEV_ANY));
}

static int compare_width(const void *a, const void *b)
{
    const struct cg_dev_table *x = a, *y = b;
    int r = width(y) - width(x);

    return r ? r : (x->count > y->count) - (x->count < y->count);
}

/* One by one, the widest first: what it says of all devices leaves little of the others. */
static int unite_widest_first(const struct cg_dev_table *tables, size_t count, struct arena *a,
                              struct cg_dev_table *ret, struct err *e)
{
    autoarena scratch = ARENA_INIT;
    struct cg_dev_table *sorted = arena_alloc(&scratch, count * sizeof *sorted), united;
    const struct cg_dev_table empty = {0};

    memcpy(sorted, tables, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_width);
    united = sorted[0];
    for (size_t i = 1; i < count; i++) {
        int r = unite(&united, &sorted[i], &scratch, &united, e);

        if (r < 0)
            return r;
    }
    return unite(&united, &empty, a, ret, e);
}

int cg_dev_union(const struct cg_dev_table *tables, size_t count, struct arena *a,
                 struct cg_dev_table *ret, struct err *e)
{
    int r = unite_pairs(tables, count, a, ret, NULL);

    /* A part of them may have too many classes though all of them together have not. */
    return r == -E2BIG ? unite_widest_first(tables, count, a, ret, e) : r;
}

/* Backwards the table is sorted from the widest class to the narrowest, and the last rule wins. */
void cg_dev_rules_of(const struct cg_dev_table *t, struct arena *a, struct cg_dev_rules *ret)
{
    *ret = (struct cg_dev_rules){0};
    for (size_t i = t->count; i > 0; i--) {
        const struct cg_dev_entry *e = &t->items[i - 1];
        const uint8_t access[] = {CG_DEV_RWM & (uint8_t)~e->access, e->access};

        for (size_t allow = 0; allow < 2; allow++) {
            if (access[allow])
                ARENA_APPEND(a, ret->items, ret->count) =
                    (struct cg_dev_rule){allow, e->type, e->major, e->minor, access[allow]};
        }
    }
}
