/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/names.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/utf8.h"

bool names_is_one(const char *text)
{
    size_t len = text ? strlen(text) : 0, control_len;
    uint32_t control;

    return len > 0 && len <= NAMES_MAX && utf8_text_span((const unsigned char *)text, len) == len &&
           utf8_find_control(text, len, &control, &control_len) == len;
}

/* The first that is one. */
static char *take(const struct oci_annotations *n, const enum oci_name *keys, size_t count,
                  struct arena *a)
{
    for (size_t i = 0; i < count; i++) {
        if (names_is_one(n->names[keys[i]]))
            return arena_strdup(a, n->names[keys[i]]);
    }
    return NULL;
}

void names_take(const struct oci_annotations *n, enum role role, struct arena *a, struct names *ret)
{
    static const enum oci_name containers[] = {OCI_NAME_CRI_CONTAINER, OCI_NAME_LABEL_CONTAINER,
                                               OCI_NAME_NERDCTL};
    static const enum oci_name pods[] = {OCI_NAME_CRI_POD, OCI_NAME_LABEL_POD, OCI_NAME_CRIO_POD};
    static const enum oci_name namespaces[] = {OCI_NAME_CRI_NAMESPACE, OCI_NAME_LABEL_NAMESPACE,
                                               OCI_NAME_CRIO_NAMESPACE};

    *ret = (struct names){
        /* CRI-O calls each of them POD. */
        .container = role == ROLE_SANDBOX ? NULL : take(n, containers, ARRAY_SIZE(containers), a),
        .pod = take(n, pods, ARRAY_SIZE(pods), a),
        .pod_namespace = take(n, namespaces, ARRAY_SIZE(namespaces), a),
    };
}

const char *names_text(const struct names *names, struct arena *a)
{
    const char *const parts[] = {names->pod_namespace, names->pod, names->container};
    const char *text = "";

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i])
            text = arena_printf(a, "%s%s%s", text, *text ? "/" : "", parts[i]);
    }
    return text;
}
