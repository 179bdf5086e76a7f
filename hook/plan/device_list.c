/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_list.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>

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

static void allow(struct arena *a, struct cg_dev_rules *rules, char type, int64_t major,
                  int64_t minor, uint8_t access)
{
    cg_dev_rules_add(a, rules, (struct cg_dev_rule){true, type, major, minor, access});
}

static void allow_node(struct arena *a, struct cg_dev_rules *rules, const struct facts *facts,
                       const char *path)
{
    const struct device_node *node = facts_device(facts, path);

    if (node)
        allow(a, rules, node->type, node->major, node->minor, CG_DEV_RWM);
}

static void allow_nodes(struct arena *a, struct cg_dev_rules *rules, const struct facts *facts,
                        const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        allow_node(a, rules, facts, paths[i]);
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

static void allow_extra(struct arena *a, struct cg_dev_rules *rules, const struct facts *facts,
                        const char *text)
{
    struct cg_dev_rule rule;

    if (device_list_parse_extra(text, &rule) == 0)
        cg_dev_rules_add(a, rules, rule);
    else
        allow_node(a, rules, facts, text);
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

int device_list_make(const struct oci_resources *resources, const struct settings *settings,
                     const struct facts *facts, struct arena *a, struct cg_dev_rules *ret,
                     struct err *e)
{
    int r = device_list_own(resources, a, ret, e);

    if (r < 0)
        return r;
    allow_nodes(a, ret, facts, facts_default_devices, facts_default_device_count);
    if (settings->virtualization_devices) {
        allow_nodes(a, ret, facts, facts_hypervisor_devices, facts_hypervisor_device_count);
        allow_nodes(a, ret, facts, facts_virtualization_devices, facts_virtualization_device_count);
    }
    allow(a, ret, 'c', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_M);
    allow(a, ret, 'b', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_M);
    allow(a, ret, 'c', 136, CG_DEV_ANY, CG_DEV_RWM); /* /dev/pts */
    allow(a, ret, 'c', 10, 200, CG_DEV_RWM);         /* tuntap */
    allow(a, ret, 'c', 5, 2, CG_DEV_RWM);            /* /dev/ptmx */
    for (size_t i = 0; i < settings->extra_devices.count; i++)
        allow_extra(a, ret, facts, JSON_AT(settings->extra_devices, char *, i));
    return 0;
}
