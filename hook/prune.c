/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/prune.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

/* Sandboxes that one setup looks at. */
#define SOME 2
/* Names that it chooses them from. */
#define CANDIDATES 64

enum prune_result prune_one(const struct state_dir *state, const struct cg_host *host,
                            const struct hook_config *config, const char *sandbox_id, bool dry_run,
                            struct err *e)
{
    autoarena a = ARENA_INIT;
    struct record_lock lock;
    struct record record;
    enum record_state st;
    enum prune_result result = PRUNE_DEAD;

    /* Whoever holds the lock is at work on it. */
    if (record_lock(state, sandbox_id, false, 0, &lock, NULL) < 0)
        return PRUNE_ALIVE;
    if (record_read(&lock, &a, &record, &st, e) < 0)
        result = PRUNE_FAILED;
    else if (st == RECORD_VALID &&
             (record_is_alive(&record) || !str_eq(record.mode, cg_mode_name(host->mode))))
        result = PRUNE_ALIVE; /* another mode: made in a mount namespace that sees other cgroups */
    else if (dry_run)
        result = PRUNE_DEAD;
    else if (st != RECORD_VALID)
        record_remove(state, sandbox_id, &lock);
    else if (sandbox_destroy(state, host, &record, config, &lock, e) < 0)
        result = PRUNE_FAILED;
    record_unlock(&lock);
    return result;
}

void prune_some(const struct state_dir *state, const struct cg_host *host,
                const struct hook_config *config, const char *except)
{
    autoarena a = ARENA_INIT;
    const char **ids;
    size_t count;

    if (record_list(state, CANDIDATES, &a, &ids, &count, NULL) < 0 || count == 0)
        return;
    /* Where to begin differs from run to run, so every one gets its turn. */
    for (size_t i = 0, at = io_now_us() % count; i < SOME && i < count;
         i++, at = (at + 1) % count) {
        if (!str_eq(ids[at], except))
            prune_one(state, host, config, ids[at], false, NULL);
    }
}

void prune_rest(const struct state_dir *state, const struct cg_host *host)
{
    struct cg_parents parents = state->parents;
    int fd = openat(state->containers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    autodir dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char target[NAME_MAX + 1];
        ssize_t len = readlinkat(state->containers, entry->d_name, target, NAME_MAX);

        if (len <= 0)
            continue;
        target[len] = '\0';
        if (faccessat(state->sandboxes, target, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            record_unlink(state, entry->d_name);
    }
    cg_parents_sweep(&parents, host);
}
