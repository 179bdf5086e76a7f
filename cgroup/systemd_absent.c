/* SPDX-License-Identifier: Apache-2.0 */

/* In place of systemd.c, in the program that has no libsystemd: a stage that needs scopes has asked
 * cg_systemd_is_here() before, and is run by the other program. */

#include "base/err.h"
#include "cgroup/systemd.h"

#include <errno.h>

bool cg_systemd_is_here(void)
{
    return false;
}

static int absent(struct err *e)
{
    return err_set(e, -ELIBACC, "this program cannot talk to systemd");
}

int cg_unit_start(struct cg_unit *u, const struct cg_properties *properties, struct err *e)
{
    (void)u;
    (void)properties;
    return absent(e);
}

int cg_unit_set(const struct cg_unit *u, const struct cg_properties *properties, struct err *e)
{
    (void)u;
    (void)properties;
    return absent(e);
}

int cg_unit_is_ours(const struct cg_unit *u, struct err *e)
{
    (void)u;
    return absent(e);
}

int cg_unit_stop(const struct cg_unit *u, struct err *e)
{
    (void)u;
    return absent(e);
}

int cg_unit_collect(const char *name, struct err *e)
{
    (void)name;
    return absent(e);
}

int cg_systemd_probe(char *version, size_t size, struct err *e)
{
    (void)version;
    (void)size;
    return absent(e);
}
