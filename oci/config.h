/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONFIG_H
#define OCI_CONFIG_H

/* The members of config.json (runtime-spec config.md, config-linux.md) that the hook uses. The nodes
 * of linux.devices are not among them: what may be done with a device is in linux.resources. */

#include "oci/annotations.h"
#include "oci/resources.h"

struct oci_linux {
    char *cgroups_path;
    struct oci_resources *resources;
};

struct oci_config {
    char *oci_version;
    struct oci_linux *linux_;
    struct oci_annotations *annotations;
};

extern const struct json_table oci_config_table;

/*
 * Open a bundle's config.json, whose owner may have put anything in the file's place.
 * @flags  for open(2), besides those for reading.
 * @shown  the file in messages.
 * The descriptor of a regular file; -EINVAL, marked as bad input, for anything else; other -errno.
 */
int oci_config_open(int dirfd, const char *path, int flags, const char *shown, struct err *e);

/*
 * Read a bundle's config.json. @bundle is absolute.
 * 0; -ENOENT no such file, which callers judge; -EINVAL bad content; other -errno.
 */
int oci_config_read_bundle(const char *bundle, struct arena *a, struct oci_config *ret,
                           struct err *e);

#endif
