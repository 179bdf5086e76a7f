/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/input.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static int read_config(struct arena *a, struct oci_input *ret, struct err *e)
{
    const char *bundle = ret->state.bundle;
    int r = str_empty(bundle) || bundle[0] != '/'
                ? err_input(e, "state.bundle: missing or not an absolute path, and there is no "
                               "config document behind the state on standard input")
                : oci_config_read_bundle(bundle, a, &ret->config, e);

    ret->has_config = r == 0;
    return r;
}

int input_read(int fd, enum stage *stage, struct sbuf *copy, struct arena *a, struct oci_input *ret,
               struct err *e)
{
    int r = oci_input_read(fd, copy, a, ret, e);

    if (r == 0 && *stage == STAGE_NONE)
        r = stage_from_state(&ret->state, stage, e);
    if (r < 0 || ret->has_config || stage_action(*stage) == ACTION_TEARDOWN)
        return r;
    return read_config(a, ret, e);
}

void input_complete(struct arena *a, struct oci_input *input)
{
    struct err ignored = ERR_INIT;

    /* The bundle may be gone by now, or be "/" (a crun defect). */
    if (!input->has_config)
        (void)read_config(a, input, &ignored);
}

int input_make(const char *path, enum stage *stage, struct arena *a, struct oci_input *ret,
               struct err *e)
{
    char shown[256];
    autofree char *resolved = realpath(path, NULL);
    struct stat st;
    char *bundle, *slash;
    int r;

    str_escape(path, shown, sizeof shown);
    if (!resolved || stat(resolved, &st) < 0)
        return err_sys(e, -errno, "%s: cannot find", shown);
    r = S_ISDIR(st.st_mode) ? oci_config_read_bundle(resolved, a, &ret->config, e)
                            : oci_config_read(resolved, a, &ret->config, e);
    if (r < 0)
        return r;
    if (!ret->config.linux_)
        return err_input(e, "%s: no member \"linux\", expected a container's config.json", shown);
    bundle = arena_strdup(a, resolved);
    slash = strrchr(bundle, '/');
    if (!S_ISDIR(st.st_mode))
        *slash = '\0';
    slash = strrchr(bundle, '/');
    ret->has_config = true;
    ret->state = (struct oci_state){
        .id = slash && slash[1] ? slash + 1 : arena_strdup(a, "container"),
        .status = arena_strdup(a, "creating"),
        .bundle = bundle,
    };
    return *stage == STAGE_NONE ? stage_from_state(&ret->state, stage, e) : 0;
}
