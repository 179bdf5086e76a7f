/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "oci/state.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static const struct json_field linux_fields[] = {
    JSON_F_STRING("cgroupsPath", struct oci_linux, cgroups_path),
    JSON_F_OBJECT("resources", struct oci_linux, resources, &oci_resources_table),
};
static const struct json_table linux_table = JSON_TABLE_GO(linux_fields, struct oci_linux);

static const struct json_field config_fields[] = {
    JSON_F_STRING("ociVersion", struct oci_config, oci_version),
    JSON_F_OBJECT("linux", struct oci_config, linux_, &linux_table),
    JSON_F_OBJECT("annotations", struct oci_config, annotations, &oci_annotations_table),
};
const struct json_table oci_config_table = JSON_TABLE_GO(config_fields, struct oci_config);

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

int oci_config_read_bundle(const char *bundle, struct arena *a, struct oci_config *ret,
                           struct err *e)
{
    struct oci_config config = {0};
    struct json_doc doc = {.table = &oci_config_table, .dest = &config};
    char path[PATH_MAX], shown[256];
    autofd fd = FD_NONE;
    int r;

    str_escape(bundle, shown, sizeof shown);
    if (bundle[0] != '/')
        return err_input(e, "bundle \"%s\": expected an absolute path", shown);
    if ((size_t)snprintf(path, sizeof path, "%s/config.json", bundle) >= sizeof path)
        return err_sys(e, -ENAMETOOLONG, "%s: the bundle's path is too long", shown);
    fd = oci_config_open(AT_FDCWD, path, 0, str_escape(path, shown, sizeof shown), e);
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
