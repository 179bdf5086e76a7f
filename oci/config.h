/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONFIG_H
#define OCI_CONFIG_H

/* The members of config.json (runtime-spec config.md, config-linux.md) that the hook uses. The nodes
 * of linux.devices are not among them: what may be done with a device is in linux.resources. */

#include "oci/annotations.h"
#include "oci/resources.h"

struct oci_namespace {
    char *type, *path;
};

struct oci_linux {
    struct json_list namespaces; /* struct oci_namespace */
    char *cgroups_path;
    struct oci_resources *resources;
};

/* Of a stage before the container's process runs its program. */
struct oci_hook {
    char *path;
};

struct oci_hooks {
    struct json_list prestart, create_runtime, create_container; /* struct oci_hook */
};

struct oci_config {
    char *oci_version;
    struct oci_hooks *hooks;
    struct oci_linux *linux_;
    struct oci_annotations *annotations;
};

extern const struct json_table oci_config_table;

/* Whether the container has a PID namespace of its own: one that it shares has a path, and without any it
 * is in that of the runtime. */
bool oci_config_has_pid_namespace(const struct oci_config *config);

/* Whether a hook that is not this program runs before the container's process does. */
bool oci_config_has_other_hooks(const struct oci_config *config);

/*
 * Open a bundle's config.json, whose owner may have put anything in the file's place.
 * @flags  for open(2), besides those for reading.
 * @shown  the file in messages.
 * The descriptor of a regular file; -EINVAL, marked as bad input, for anything else; other -errno.
 */
int oci_config_open(int dirfd, const char *path, int flags, const char *shown, struct err *e);

/*
 * Read a config.json, or that of a bundle; @bundle is absolute.
 * 0; -ENOENT no such file, which callers judge; -EINVAL bad content; other -errno.
 */
int oci_config_read(const char *path, struct arena *a, struct oci_config *ret, struct err *e);
int oci_config_read_bundle(const char *bundle, struct arena *a, struct oci_config *ret,
                           struct err *e);

#endif
