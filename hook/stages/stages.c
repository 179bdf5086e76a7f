/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/stages.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/log/log.h"
#include "hook/stages/run.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static int run_stage(struct run *run, struct err *e)
{
    return stage_action(run->stage) == ACTION_TEARDOWN ? run_tear_down(run, e) : run_set_up(run, e);
}

/*
 * The hook of a rootless engine: whatever it cannot do must not break its containers. Layout nested
 * on v2 writes to nothing but the container's own cgroup, which is delegated to the user.
 */
static int run_foreign(struct run *run, struct err *e)
{
    bool ends = stage_action(run->stage) == ACTION_TEARDOWN;

    if (str_eq(run->state_dir, STATE_DIR_DEFAULT))
        run->state_dir = state_dir_of_user(run->a);
    if (run->state_dir && run->host.mode == CG_MODE_V2 &&
        (ends ? access(run->state_dir, F_OK) == 0 : run_can_be_nested(run)))
        return run_stage(run, e);
    /* Once in the life of a container. */
    if (!ends)
        log_msg(LEVEL_WARNING, "%s", PLAN_FOREIGN);
    return 0;
}

/*
 * Pids of the state are those of the runtime's PID namespace; in a container's own, as in the stages
 * createContainer and startContainer, they would name somebody else.
 */
static int check_proc(struct err *e)
{
    char self[16], own[16];
    ssize_t len = readlink("/proc/self", self, sizeof self - 1);

    if (len < 0)
        return err_sys(e, -errno, "cannot read /proc/self");
    self[len] = '\0';
    snprintf(own, sizeof own, "%d", (int)getpid());
    if (str_eq(self, own))
        return 0;
    return err_input(e,
                     "/proc is of another PID namespace (this is process %s here, and %s there): "
                     "register the hook in prestart or createRuntime, and in poststop",
                     own, self);
}

int stages_run(const struct request *request, const struct oci_input *input, struct arena *a,
               struct err *e)
{
    struct run run = {
        .request = request,
        .input = input,
        .stage = request->stage,
        .a = a,
        .state = STATE_DIR_INIT,
        .lock = STATE_LOCK_INIT,
    };
    int r = check_proc(e);
    /* Then it is not foreign, wherever it may write, and what it has to end may be in no hierarchy. */
    bool at_home =
        stage_action(run.stage) == ACTION_TEARDOWN && r == 0 && cg_host_in_userns(NULL) == 0;

    if (r == 0 && !at_home)
        r = run_see_host(&run, e);
    run.state_dir = request->state_dir;
    if (r == 0) {
        r = at_home ? 0 : cg_host_is_foreign(&run.host, e);
        if (r >= 0)
            r = r ? run_foreign(&run, e) : run_stage(&run, e);
    }
    state_unlock(&run.lock);
    state_dir_close(&run.state);
    cg_host_close(&run.host);
    return r;
}
