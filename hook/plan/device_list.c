/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_list.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A class of devices that a rule of config.json allows, and the last such rule. */
struct word {
    struct cg_dev_entry class; /* without its access */
    size_t index;
};

/* The list that is being made. */
struct job {
    struct arena *a;
    const struct facts *facts;
    struct cg_dev_rules *rules;
    const struct word *words; /* sorted; none: what is allowed twice adds up */
    size_t word_count;
};

/*
 * Without access a rule has no bits: crun's program of v2 takes it for that, runc refuses it, and v1
 * refuses crun's. But a denial of all devices is one: v1 reads nothing behind an "a".
 */
static int convert_access(const struct oci_device_rule *in, size_t index, struct cg_dev_rule *ret,
                          struct err *e)
{
    char shown[64];

    if (str_empty(in->access)) {
        ret->access = ret->type == 'a' && !ret->allow ? CG_DEV_RWM : 0;
        return 0;
    }
    if (cg_dev_access_parse(in->access, &ret->access) < 0)
        return err_input(e, "linux.resources.devices[%zu].access: \"%s\" is not made of r, w, m",
                         index, str_escape(in->access, shown, sizeof shown));
    return 0;
}

static int convert_rule(const struct oci_device_rule *in, size_t index, struct cg_dev_rule *ret,
                        struct err *e)
{
    char shown[64];

    *ret = (struct cg_dev_rule){
        .allow = in->allow.value,
        .type = 'a',
        .major = in->major.set ? in->major.value : CG_DEV_ANY,
        .minor = in->minor.set ? in->minor.value : CG_DEV_ANY,
    };
    if (!str_empty(in->type)) {
        if (in->type[1] || !strchr("abc", in->type[0]))
            return err_input(e, "linux.resources.devices[%zu].type: \"%s\" is none of a, b, c",
                             index, str_escape(in->type, shown, sizeof shown));
        ret->type = in->type[0];
    }
    return convert_access(in, index, ret, e);
}

static void add(const struct job *job, char type, int64_t major, int64_t minor, uint8_t access)
{
    cg_dev_rules_add(job->a, job->rules, (struct cg_dev_rule){true, type, major, minor, access});
}

static const struct word *find_word(const struct job *job, char type, int64_t major, int64_t minor)
{
    const struct cg_dev_entry class = {.type = type, .major = major, .minor = minor};

    return job->word_count == 0 ? NULL
                                : bsearch(&class, job->words, job->word_count, sizeof *job->words,
                                          cg_dev_entry_compare);
}

/* What runtimes allow by default, as long as config.json has no word about just these devices. */
static void add_default(const struct job *job, char type, int64_t major, int64_t minor,
                        uint8_t access)
{
    if (!find_word(job, type, major, minor))
        add(job, type, major, minor, access);
}

static void add_default_nodes(const struct job *job)
{
    for (size_t i = 0; i < facts_default_device_count; i++) {
        const struct device_node *node = facts_device(job->facts, facts_default_devices[i]);

        if (node)
            add_default(job, node->type, node->major, node->minor, CG_DEV_RWM);
    }
}

static void add_node(const struct job *job, const char *path)
{
    const struct device_node *node = facts_device(job->facts, path);

    if (node)
        add(job, node->type, node->major, node->minor, CG_DEV_RWM);
}

static void add_nodes(const struct job *job, const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_node(job, paths[i]);
}

/* "*" or digits. */
static int parse_number(const char *text, int64_t *ret)
{
    if (str_eq(text, "*")) {
        *ret = CG_DEV_ANY;
        return 0;
    }
    return str_to_i64(text, strlen(text), ret);
}

int device_list_parse_extra(const char *text, struct cg_dev_rule *ret)
{
    char major[12], minor[12], access[4];
    int len = 0;

    if (sscanf(text, "%c %11[0-9*]:%11[0-9*] %3[rwm]%n", &ret->type, major, minor, access, &len) <
            4 ||
        text[len])
        return -EINVAL;
    ret->allow = true;
    return (ret->type == 'b' || ret->type == 'c') && parse_number(major, &ret->major) == 0 &&
                   parse_number(minor, &ret->minor) == 0 && ret->major <= UINT32_MAX &&
                   ret->minor <= UINT32_MAX && cg_dev_access_parse(access, &ret->access) == 0
               ? 0
               : -EINVAL;
}

static void add_extra(const struct job *job, const char *text)
{
    struct cg_dev_rule rule;

    if (device_list_parse_extra(text, &rule) == 0)
        cg_dev_rules_add(job->a, job->rules, rule);
    else
        add_node(job, text);
}

int device_list_own(const struct oci_resources *resources, struct arena *a,
                    struct cg_dev_rules *ret, struct err *e)
{
    *ret = (struct cg_dev_rules){0};
    for (size_t i = 0; resources && i < resources->devices.count; i++) {
        struct cg_dev_rule rule;
        int r = convert_rule(&JSON_AT(resources->devices, struct oci_device_rule, i), i, &rule, e);

        if (r < 0)
            return r;
        if (rule.access != 0)
            cg_dev_rules_add(a, ret, rule);
    }
    return 0;
}

static char *access_text(uint8_t access, struct arena *a)
{
    char text[4];

    return arena_strdup(a, cg_dev_access_text(access, text));
}

static void add_word(struct arena *a, struct json_list *words, const struct cg_dev_rule *rule)
{
    JSON_APPEND(a, *words, struct oci_device_rule) = (struct oci_device_rule){
        .allow = {true, rule->allow},
        .type = arena_printf(a, "%c", rule->type),
        .major = {rule->major != CG_DEV_ANY, rule->major},
        .minor = {rule->minor != CG_DEV_ANY, rule->minor},
        .access = access_text(rule->access, a),
    };
}

struct json_list device_list_words(const struct cg_dev_rules *rules, struct arena *a)
{
    struct json_list words = {0};

    for (size_t i = 0; i < rules->count; i++)
        add_word(a, &words, &rules->items[i]);
    return words;
}

int device_list_add(const struct cg_dev_rules *asked, struct arena *a, struct cg_dev_table *t,
                    struct err *e)
{
    struct cg_dev_rules rules;

    if (asked->count == 0)
        return 0;
    cg_dev_rules_of(t, a, &rules);
    for (size_t i = 0; i < asked->count; i++)
        ARENA_APPEND(a, rules.items, rules.count) = asked->items[i];
    return cg_dev_compile(&rules, a, t, e);
}

struct oci_resources *device_list_take(struct oci_resources *resources,
                                       const struct cg_dev_exceptions *in_force, struct arena *a)
{
    struct oci_resources *ret;

    if (!in_force || in_force->allow_all)
        return resources;
    ret = arena_alloc(a, sizeof *ret);
    *ret = *resources;
    ret->devices = (struct json_list){0};
    JSON_APPEND(a, ret->devices, struct oci_device_rule) =
        (struct oci_device_rule){.allow = {true, false}, .access = access_text(CG_DEV_RWM, a)};
    for (size_t i = 0; i < in_force->count; i++) {
        const struct cg_dev_entry *entry = &in_force->exceptions[i];
        const struct cg_dev_rule rule = {true, entry->type, entry->major, entry->minor,
                                         entry->access};

        add_word(a, &ret->devices, &rule);
    }
    return ret;
}

/* The bits of the list's own entry for just this class. */
static uint8_t bits_of(const struct cg_dev_exceptions *list, const struct cg_dev_entry *class)
{
    const struct cg_dev_entry *found =
        list->count == 0 ? NULL
                         : bsearch(class, list->exceptions, list->count, sizeof *list->exceptions,
                                   cg_dev_entry_compare);

    return found ? found->access : 0;
}

static void add_class(const struct cg_dev_entry *class, uint8_t access, struct arena *a,
                      struct cg_dev_rules *ret)
{
    const struct cg_dev_rule rule = {true, class->type, class->major, class->minor, access};

    if (access)
        cg_dev_rules_add(a, ret, rule);
}

bool device_list_adopt(const struct cg_dev_exceptions *in_force,
                       const struct cg_dev_exceptions *before, const struct cg_dev_exceptions *ours,
                       bool denials, struct arena *a, struct cg_dev_rules *ret)
{
    bool differs = false;

    *ret = (struct cg_dev_rules){0};
    /* The kernel shows no denials of a list that allows all else. */
    if (in_force->allow_all || before->allow_all || ours->allow_all)
        return false;
    for (size_t i = 0; i < ours->count; i++) {
        const struct cg_dev_entry *e = &ours->exceptions[i];
        uint8_t denied =
            denials ? e->access & bits_of(before, e) & (uint8_t)~bits_of(in_force, e) : 0;

        differs = differs || denied;
        add_class(e, e->access & (uint8_t)~denied, a, ret);
    }
    for (size_t i = 0; i < in_force->count; i++) {
        const struct cg_dev_entry *e = &in_force->exceptions[i];
        uint8_t added = e->access & (uint8_t) ~(bits_of(before, e) | bits_of(ours, e));

        differs = differs || added;
        add_class(e, added, a, ret);
    }
    return differs;
}

bool device_list_same(const struct cg_dev_exceptions *one, const struct cg_dev_exceptions *other)
{
    bool same = one->allow_all == other->allow_all && one->count == other->count;

    for (size_t i = 0; same && i < one->count; i++)
        same = cg_dev_entry_compare(&one->exceptions[i], &other->exceptions[i]) == 0 &&
               one->exceptions[i].access == other->exceptions[i].access;
    return same;
}

/* By class, and of one class the last rule first. */
static int compare_words(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    int r = cg_dev_entry_compare(&x->class, &y->class);

    return r ? r : (x->index < y->index) - (x->index > y->index);
}

static void take_words(const struct cg_dev_rules *own, struct job *job)
{
    struct word *words = arena_alloc(job->a, (2 * own->count + 1) * sizeof *words);
    size_t count = 0, kept = 0;

    for (size_t i = 0; i < own->count; i++) {
        const struct cg_dev_rule *rule = &own->items[i];

        for (const char *type = "bc"; *type && rule->allow; type++)
            if (rule->type == 'a' || rule->type == *type)
                words[count++] = (struct word){{*type, rule->major, rule->minor, 0}, i};
    }
    qsort(words, count, sizeof *words, compare_words);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || cg_dev_entry_compare(&words[kept - 1].class, &words[i].class) != 0)
            words[kept++] = words[i];
    job->words = words;
    job->word_count = kept;
}

/* A row of equal classes is what its last rule says. */
static void add_last_words(const struct job *job, const struct cg_dev_rules *own)
{
    for (size_t i = 0; i < own->count; i++) {
        const struct cg_dev_rule *rule = &own->items[i];

        if (!rule->allow)
            cg_dev_rules_add(job->a, job->rules, *rule);
        for (const char *type = "bc"; *type && rule->allow; type++) {
            const struct word *word = find_word(job, *type, rule->major, rule->minor);

            if ((rule->type == 'a' || rule->type == *type) && word->index == i)
                add(job, *type, rule->major, rule->minor, rule->access);
        }
    }
}

/* Behind the last denial all devices of both types are allowed: crun asks nothing of systemd then. */
static bool allows_all(const struct cg_dev_rules *own)
{
    bool b = false, c = false;

    for (size_t i = own->count; i > 0 && own->items[i - 1].allow && !(b && c); i--) {
        const struct cg_dev_rule *rule = &own->items[i - 1];
        bool any = rule->major == CG_DEV_ANY && rule->minor == CG_DEV_ANY;

        b = b || (any && rule->type != 'c');
        c = c || (any && rule->type != 'b');
    }
    return b && c;
}

int device_list_make(const struct oci_resources *resources, const struct settings *settings,
                     const struct facts *facts, bool systemd, struct arena *a,
                     struct cg_dev_rules *ret, struct device_parts *parts, struct err *e)
{
    struct cg_dev_rules own;
    struct device_parts ends;
    struct job job = {.a = a, .facts = facts, .rules = ret};
    int r = device_list_own(resources, a, &own, e);

    if (r < 0)
        return r;
    *ret = own;
    if (systemd && !allows_all(&own)) {
        *ret = (struct cg_dev_rules){0};
        take_words(&own, &job);
        add_last_words(&job, &own);
    }
    ends.own = ret->count;
    add_default_nodes(&job);
    ends.nodes = ret->count;
    if (settings->virtualization_devices) {
        add_nodes(&job, facts_hypervisor_devices, facts_hypervisor_device_count);
        add_nodes(&job, facts_virtualization_devices, facts_virtualization_device_count);
    }
    ends.virtualization = ret->count;
    add_default(&job, 'c', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_M);
    add_default(&job, 'b', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_M);
    add_default(&job, 'c', 136, CG_DEV_ANY, CG_DEV_RWM); /* /dev/pts */
    add_default(&job, 'c', 10, 200, CG_DEV_RWM);         /* tuntap */
    add_default(&job, 'c', 5, 2, CG_DEV_RWM);            /* /dev/ptmx */
    ends.wild = ret->count;
    for (size_t i = 0; i < settings->extra_devices.count; i++)
        add_extra(&job, JSON_AT(settings->extra_devices, char *, i));
    if (parts)
        *parts = ends;
    return 0;
}

int device_list_unite(const struct aggregate_member *members, size_t count,
                      const struct settings *settings, const struct facts *facts, bool systemd,
                      struct arena *a, struct cg_dev_table *ret, struct err *e)
{
    struct cg_dev_table *tables = arena_alloc(a, (count + 1) * sizeof *tables);
    struct cg_dev_rules before = {0};
    size_t different = 0;

    for (size_t i = 0; i < count; i++) {
        struct cg_dev_rules rules;
        int r =
            device_list_make(members[i].resources, settings, facts, systemd, a, &rules, NULL, e);

        if (r < 0)
            return r;
        if (different > 0 && cg_dev_rules_same(&rules, &before))
            continue;
        r = cg_dev_compile(&rules, a, &tables[different++], e);
        if (r < 0)
            return r;
        before = rules;
    }
    if (different != 1)
        return cg_dev_union(tables, different, a, ret, e);
    *ret = tables[0];
    return 0;
}
