/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "oci/state.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static const struct json_field namespace_fields[] = {
    JSON_F_STRING("type", struct oci_namespace, type),
    JSON_F_STRING("path", struct oci_namespace, path),
};
static const struct json_table namespace_table =
    JSON_TABLE_GO(namespace_fields, struct oci_namespace);

static const struct json_field linux_fields[] = {
    JSON_F_OBJECT_LIST("namespaces", struct oci_linux, namespaces, &namespace_table),
    JSON_F_STRING("cgroupsPath", struct oci_linux, cgroups_path),
    JSON_F_OBJECT("resources", struct oci_linux, resources, &oci_resources_table),
};
static const struct json_table linux_table = JSON_TABLE_GO(linux_fields, struct oci_linux);

static const struct json_field hook_fields[] = {
    JSON_F_STRING("path", struct oci_hook, path),
};
static const struct json_table hook_table = JSON_TABLE_GO(hook_fields, struct oci_hook);

static const struct json_field hooks_fields[] = {
    JSON_F_OBJECT_LIST("prestart", struct oci_hooks, prestart, &hook_table),
    JSON_F_OBJECT_LIST("createRuntime", struct oci_hooks, create_runtime, &hook_table),
    JSON_F_OBJECT_LIST("createContainer", struct oci_hooks, create_container, &hook_table),
};
static const struct json_table hooks_table = JSON_TABLE_GO(hooks_fields, struct oci_hooks);

static const struct json_field config_fields[] = {
    JSON_F_STRING("ociVersion", struct oci_config, oci_version),
    JSON_F_OBJECT("hooks", struct oci_config, hooks, &hooks_table),
    JSON_F_OBJECT("linux", struct oci_config, linux_, &linux_table),
    JSON_F_OBJECT("annotations", struct oci_config, annotations, &oci_annotations_table),
};
const struct json_table oci_config_table = JSON_TABLE_GO(config_fields, struct oci_config);

bool oci_config_has_pid_namespace(const struct oci_config *config)
{
    static const struct oci_linux nothing;
    const struct oci_linux *l = config->linux_ ? config->linux_ : &nothing;

    for (size_t i = 0; i < l->namespaces.count; i++) {
        const struct oci_namespace *n = &JSON_AT(l->namespaces, struct oci_namespace, i);

        if (n->type && str_eq(n->type, "pid"))
            return str_empty(n->path);
    }
    return false;
}

/* Of the program file, wherever it is installed. */
#define OUR_NAME "oci-sandbox-cgroup"

static bool is_other(const struct oci_hook *h)
{
    const char *name = h->path ? strrchr(h->path, '/') : NULL;

    return !str_eq(name ? name + 1 : h->path ? h->path : "", OUR_NAME);
}

static bool has_other(const struct json_list *hooks)
{
    for (size_t i = 0; i < hooks->count; i++) {
        if (is_other(&JSON_AT(*hooks, struct oci_hook, i)))
            return true;
    }
    return false;
}

bool oci_config_has_other_hooks(const struct oci_config *config)
{
    const struct oci_hooks *h = config->hooks;

    return h && (has_other(&h->prestart) || has_other(&h->create_runtime) ||
                 has_other(&h->create_container));
}

/* O_NONBLOCK keeps the open of a FIFO without a writer from waiting, and has no effect on a regular
 * file. */
int oci_config_open(int dirfd, const char *path, int flags, const char *shown, struct err *e)
{
    autofd fd = openat(dirfd, path, flags | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    /* ENXIO: a socket, or a device without a driver */
    if (fd < 0 && errno != ENXIO)
        return err_sys(e, -errno, "%s: cannot open", shown);
    if (fd >= 0 && fstat(fd, &st) < 0)
        return err_sys(e, -errno, "%s: cannot stat", shown);
    if (fd < 0 || !S_ISREG(st.st_mode))
        return err_input(e, "%s: not a regular file, expected the bundle's config.json", shown);
    return fd_take(&fd);
}

int oci_config_read(const char *path, struct arena *a, struct oci_config *ret, struct err *e)
{
    struct oci_config config = {0};
    struct json_doc doc = {.table = &oci_config_table, .dest = &config};
    char shown[256];
    autofd fd = oci_config_open(AT_FDCWD, path, 0, str_escape(path, shown, sizeof shown), e);
    int r;

    if (fd < 0)
        return fd;
    r = json_read_fd(fd, &doc, 1, OCI_MAX_BYTES, 0, path, a, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_input(e, "%s: the file is empty, expected an object", shown);
    *ret = config;
    return 0;
}

int oci_config_read_bundle(const char *bundle, struct arena *a, struct oci_config *ret,
                           struct err *e)
{
    char path[PATH_MAX], shown[256];

    str_escape(bundle, shown, sizeof shown);
    if (bundle[0] != '/')
        return err_input(e, "bundle \"%s\": expected an absolute path", shown);
    if ((size_t)snprintf(path, sizeof path, "%s/config.json", bundle) >= sizeof path)
        return err_sys(e, -ENAMETOOLONG, "%s: the bundle's path is too long", shown);
    return oci_config_read(path, a, ret, e);
}
