/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/member.h"

#include "base/str.h"
#include "cgroup/path.h"

static bool is_at_or_below(const char *path, const char *dir)
{
    return dir && (str_eq(path, dir) || cg_path_is_below(path, dir));
}

static bool is_ours(const struct record *r, const char *home, const char *path)
{
    return str_eq(path, home) || str_eq_null(path, r->sandbox_path) ||
           str_eq_null(path, r->vcpu_path) || str_eq_null(path, r->overhead_path);
}

static bool is_runtimes(const struct record *r, const char *path)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        if (str_eq_null(path, JSON_AT(r->containers, struct record_container, i).runtime_path))
            return true;
    }
    return false;
}

enum member_place member_place(const struct record *r, const char *home, const char *path)
{
    if (!path)
        return MEMBER_ELSEWHERE;
    if (is_ours(r, home, path))
        return MEMBER_INSIDE;
    if (is_at_or_below(path, home) || is_at_or_below(path, r->overhead_path))
        return MEMBER_BELOW;
    if (cg_path_is_below(home, path))
        return MEMBER_ABOVE;
    return is_runtimes(r, path) ? MEMBER_RUNTIME : MEMBER_ELSEWHERE;
}

enum member_verdict member_judge(const struct member_at *at, size_t count, size_t *ret_which)
{
    bool is_in = true;

    for (size_t i = 0; i < count; i++)
        is_in = is_in && (at[i].place == MEMBER_INSIDE || at[i].place == MEMBER_BELOW);
    if (is_in)
        return MEMBER_IS_IN;
    for (size_t i = 0; i < count; i++) {
        /* From below it would be moved up, out of what the payload has set there. */
        if (at[i].limits && (at[i].place == MEMBER_ELSEWHERE || at[i].place == MEMBER_BELOW)) {
            *ret_which = i;
            return MEMBER_WOULD_LEAVE;
        }
    }
    return MEMBER_MAY_JOIN;
}

bool member_is_of(const struct record *r, const char *path)
{
    return is_at_or_below(path, r->sandbox_path) || is_at_or_below(path, r->overhead_path) ||
           is_at_or_below(path, r->vcpu_path);
}
