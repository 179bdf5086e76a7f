/* SPDX-License-Identifier: Apache-2.0 */

/* The lock of a sandbox, and what becomes of it when the sandbox is removed. */

#include "hook/sandbox/record.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/record_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A child that holds a sandbox's lock until it is told to let go. */
struct holder {
    pid_t pid;
    int held, release; /* reads a byte when it holds the lock; closing lets it go */
};

static struct holder hold(const struct kit_state *f, const char *id)
{
    int held[2], release[2];
    struct holder h;
    char byte;

    cr_assert(pipe2(held, O_CLOEXEC) == 0 && pipe2(release, O_CLOEXEC) == 0);
    h = (struct holder){.pid = kit_fork(), .held = held[0], .release = release[1]};
    if (h.pid == 0) {
        struct state_lock lock;

        close(release[1]);
        if (state_lock(&f->state, id, true, KIT_PATIENCE_MS, &lock, NULL) < 0)
            _exit(1);
        if (write(held[1], "h", 1) != 1)
            _exit(2);
        if (read(release[0], &byte, 1) != 0)
            _exit(3);
        state_unlock(&lock);
        _exit(0);
    }
    close(held[1]);
    close(release[0]);
    cr_assert_eq(read(h.held, &byte, 1), 1, "the child did not get the lock");
    return h;
}

static void let_go(struct holder *h)
{
    int status = -1;

    close(h->release);
    waitpid(h->pid, &status, 0);
    close(h->held);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's status: %x",
              (unsigned)status);
}

Test(state_lock, excludes_other_processes)
{
    static const int timeouts[] = {0, 1, 20};
    FIXTURE f;
    struct state_lock lock;
    struct holder h;

    kit_begin_state(&f);
    h = hold(&f, "s1");
    for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
        for (int make = 0; make <= 1; make++) {
            struct err e = ERR_INIT;
            int r = state_lock(&f.state, "s1", make, timeouts[i], &lock, &e);

            cr_expect(r == -ETIMEDOUT && lock.dirfd < 0 && lock.lock_fd < 0 &&
                          strstr(e.text, "sandbox s1") && strstr(e.text, "ETIMEDOUT"),
                      "input:    timeout %d, make %d\nexpected: -ETIMEDOUT\ngot:      %d, %s",
                      timeouts[i], make, r, e.text);
        }
    }
    /* another sandbox is free */
    lock = kit_lock(&f, "s2", true);
    state_unlock(&lock);
    let_go(&h);
    lock = kit_lock(&f, "s1", false);
    cr_expect(lock.dirfd >= 0 && lock.lock_fd >= 0);
    state_unlock(&lock);
    cr_expect(lock.dirfd < 0 && lock.lock_fd < 0);
    state_unlock(&lock);
}

/* The same process twice, too: the lock belongs to the open file. */
Test(state_lock, excludes_itself)
{
    FIXTURE f;
    struct state_lock one, two;

    kit_begin_state(&f);
    one = kit_lock(&f, "s1", true);
    cr_expect_eq(state_lock(&f.state, "s1", false, 0, &two, NULL), -ETIMEDOUT);
    state_unlock(&one);
    two = kit_lock(&f, "s1", false);
    state_unlock(&two);
}

/* A child that still has the descriptor does not keep the lock. */
Test(state_lock, unlock_in_spite_of_a_child)
{
    FIXTURE f;
    struct state_lock one, two;
    pid_t pid;

    kit_begin_state(&f);
    one = kit_lock(&f, "s1", true);
    pid = kit_fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    state_unlock(&one);
    cr_expect_eq(state_lock(&f.state, "s1", false, 0, &two, NULL), 0);
    state_unlock(&two);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

Test(state_lock, without_a_sandbox)
{
    FIXTURE f;
    struct state_lock lock;
    struct err e = ERR_INIT;
    int r;

    kit_begin_state(&f);
    r = state_lock(&f.state, "s1", false, KIT_PATIENCE_MS, &lock, &e);
    cr_expect(r == -ENOENT && strstr(e.text, "s1") && lock.dirfd < 0 && lock.lock_fd < 0,
              "expected: -ENOENT with s1\ngot:      %d, %s", r, e.text);
    cr_expect_not(kit_exists_at(f.state.sandboxes, "s1"), "it was made");
}

/* Links are not followed, neither for the directory nor for the lock. */
Test(state_lock, follows_no_links)
{
    FIXTURE f;
    struct state_lock lock;
    char elsewhere[128];
    int r;

    kit_begin_state(&f);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", f.top);
    cr_assert_eq(mkdir(elsewhere, 0700), 0);
    cr_assert_eq(symlinkat(elsewhere, f.state.sandboxes, "s1"), 0);
    for (int make = 0; make <= 1; make++) {
        r = state_lock(&f.state, "s1", make, 0, &lock, NULL);
        cr_expect(r == -ENOTDIR || r == -ELOOP, "make %d: expected a refusal, got %d", make, r);
    }
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere/lock", f.top);
    cr_expect_not(kit_exists_at(AT_FDCWD, elsewhere), "a file was made behind the link");
    cr_assert_eq(mkdirat(f.state.sandboxes, "s2", 0700), 0);
    cr_assert_eq(symlinkat(elsewhere, f.state.sandboxes, "s2/lock"), 0);
    r = state_lock(&f.state, "s2", true, 0, &lock, NULL);
    cr_expect_eq(r, -ELOOP, "expected -ELOOP, got %d", r);
    cr_expect_not(kit_exists_at(AT_FDCWD, elsewhere), "a file was made behind the link");
}

/* True once the process waits for a lock in another's name: it has opened the lock file. */
static bool has_open(pid_t pid, const struct stat *file)
{
    char path[64];
    bool found = false;
    autodir dir = NULL;
    struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = io_opendir_at(AT_FDCWD, path);
    while (!found && (entry = io_next_entry(dir))) {
        struct stat st;

        found = fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
                st.st_ino == file->st_ino;
    }
    return found;
}

/* A child without the parent's descriptors of a lock, which would look like its own. */
static pid_t fork_without(const struct state_lock *lock)
{
    int ready[2];
    pid_t pid;
    char byte;

    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    pid = kit_fork();
    if (pid == 0) {
        close(lock->lock_fd);
        close(lock->dirfd);
        close(ready[0]);
        close(ready[1]);
        return 0;
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 0);
    close(ready[0]);
    return pid;
}

/* Wait until it has opened a lock, and so is about to wait for it. */
static void await_open(pid_t pid, const struct stat *file)
{
    siginfo_t ended = {0};

    while (!has_open(pid, file)) {
        waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
        cr_assert_eq(ended.si_pid, 0, "it ended without opening the lock");
        io_sleep_ms(1);
    }
}

/* What the waiter says: its result, and which directory it has. */
struct waited {
    int r;
    dev_t dev;
    ino_t ino;
    bool named; /* the directory is the one that has the sandbox's name */
};

static struct waited wait_for_removal(struct kit_state *f, bool make, bool made_anew,
                                      int replies[2])
{
    struct state_lock lock = kit_lock(f, "s1", true);
    struct waited w = {.r = 1};
    struct stat held, named;
    pid_t pid;

    cr_assert_eq(fstat(lock.lock_fd, &held), 0);
    pid = fork_without(&lock);
    if (pid == 0) {
        struct state_lock own;
        struct stat dir = {0};

        w = (struct waited){0};
        w.r = state_lock(&f->state, "s1", make, KIT_PATIENCE_MS, &own, NULL);
        if (w.r == 0 && fstat(own.dirfd, &dir) == 0) {
            w.dev = dir.st_dev;
            w.ino = dir.st_ino;
            w.named = fstatat(f->state.sandboxes, "s1", &named, 0) == 0 &&
                      named.st_ino == dir.st_ino && named.st_dev == dir.st_dev;
        }
        state_unlock(&own);
        _exit(write(replies[1], &w, sizeof w) == sizeof w ? 0 : 1);
    }
    await_open(pid, &held);
    if (made_anew) {
        /* Somebody else makes the sandbox anew before the waiter looks. */
        cr_assert_eq(renameat(f->state.sandboxes, "s1", f->state.sandboxes, "old"), 0);
        cr_assert_eq(mkdirat(f->state.sandboxes, "s1", 0700), 0);
        close(openat(f->state.sandboxes, "s1/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        state_unlock(&lock);
    } else {
        state_remove(&f->state, "s1", NULL, &lock, NULL);
        cr_expect(lock.dirfd < 0 && lock.lock_fd < 0, "the lock is not released");
    }
    cr_assert_eq(read(replies[0], &w, sizeof w), (ssize_t)sizeof w);
    waitpid(pid, NULL, 0);
    return w;
}

Test(state_lock, removed_while_another_waits)
{
    static const struct {
        bool make, made_anew;
        int want;
    } rows[] = {
        {true, false, 0},
        {true, true, 0},
        {false, false, -ENOENT},
        {false, true, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        FIXTURE f;
        struct waited w;
        int replies[2];

        kit_begin_state(&f);
        cr_assert_eq(pipe2(replies, O_CLOEXEC), 0);
        w = wait_for_removal(&f, rows[i].make, rows[i].made_anew, replies);
        cr_expect(w.r == rows[i].want && w.named == (rows[i].want == 0),
                  "input:    make %d, made anew %d\nexpected: %d\n"
                  "got:      %d, the directory of that name: %d",
                  rows[i].make, rows[i].made_anew, rows[i].want, w.r, w.named);
        close(replies[0]);
        close(replies[1]);
    }
}

/*
 * A removal takes the lock's name away, and then the directory, unless somebody has made a new lock
 * in it in between. Whoever waited for the old lock must not take that for the sandbox's.
 */
Test(state_lock, made_anew_while_another_waits)
{
    FIXTURE f;
    struct state_lock old, fresh;
    struct stat old_file, fresh_file;
    struct pollfd done;
    int said[2];
    pid_t pid;

    kit_begin_state(&f);
    old = kit_lock(&f, "s1", true);
    cr_assert(fstat(old.lock_fd, &old_file) == 0 && pipe2(said, O_CLOEXEC | O_NONBLOCK) == 0);
    pid = fork_without(&old);
    if (pid == 0) {
        struct state_lock own;

        if (state_lock(&f.state, "s1", true, KIT_PATIENCE_MS, &own, NULL) < 0)
            _exit(1);
        _exit(write(said[1], "l", 1) == 1 ? 0 : 2);
    }
    await_open(pid, &old_file);
    cr_assert_eq(unlinkat(old.dirfd, "lock", 0), 0);
    cr_assert_eq(state_lock(&f.state, "s1", true, 0, &fresh, NULL), 0);
    cr_assert_eq(fstat(fresh.lock_fd, &fresh_file), 0);
    state_unlock(&old);
    /* It goes on to wait for the new one, or says that it holds "the" lock beside us. */
    done = (struct pollfd){.fd = said[0], .events = POLLIN};
    while (!has_open(pid, &fresh_file) && poll(&done, 1, 0) == 0)
        io_sleep_ms(1);
    cr_expect_eq(poll(&done, 1, 0), 0, "two processes hold the lock of one sandbox");
    state_unlock(&fresh);
    waitpid(pid, NULL, 0);
    cr_expect_eq(poll(&done, 1, 0), 1, "the one that waited did not get the lock in the end");
    close(said[0]);
    close(said[1]);
}

/* Many at once on one name that comes and goes: each holds the lock alone. */
#define CROWD  8
#define ROUNDS 100

static int take_turns(const struct kit_state *f)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct state_lock lock;
        int fd;

        if (state_lock(&f->state, "s1", true, KIT_PATIENCE_MS, &lock, NULL) < 0)
            return 1;
        fd = openat(f->state.top, "alone", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            return 2;
        close(fd);
        if (unlinkat(f->state.top, "alone", 0) < 0)
            return 3;
        if (i % 2)
            state_remove(&f->state, "s1", NULL, &lock, NULL);
        else
            state_unlock(&lock);
    }
    return 0;
}

Test(state_lock, crowd)
{
    FIXTURE f;
    pid_t pids[CROWD];

    kit_begin_state(&f);
    for (size_t i = 0; i < CROWD; i++) {
        pids[i] = kit_fork();
        if (pids[i] == 0)
            _exit(take_turns(&f));
    }
    for (size_t i = 0; i < CROWD; i++) {
        int status = -1;

        waitpid(pids[i], &status, 0);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "process %zu: status %x (1: no lock, 2: not alone, 3: not alone)", i,
                  (unsigned)status);
    }
}

Test(state_lock, remove_leaves_nothing)
{
    autoarena a = ARENA_INIT;
    FIXTURE f;
    struct state_lock lock;
    struct record r = {.sandbox_id = kit_json(&a, "s1")};

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    cr_assert_eq(record_write(&lock, &a, &r, NULL), 0);
    /* as a kill in the middle of a write leaves it */
    close(openat(lock.dirfd, "record.json.tmp", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    state_remove(&f.state, "s1", NULL, &lock, NULL);
    cr_expect_not(kit_exists_at(f.state.sandboxes, "s1"));
    cr_expect(lock.dirfd < 0 && lock.lock_fd < 0);
}

/* What cannot be removed keeps the lock, or nobody would find it any more. */
Test(state_lock, what_stays_has_its_lock)
{
    static const char *const names[] = {"record.json.tmp", "placement.json", "placement.json.tmp"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        FIXTURE f;
        struct state_lock lock;

        kit_begin_state(&f);
        lock = kit_lock(&f, "s1", true);
        cr_assert_eq(mkdirat(lock.dirfd, names[i], 0700), 0); /* no file is removed by that */
        cr_expect_eq(state_remove(&f.state, "s1", NULL, &lock, NULL), 0);
        cr_expect(kit_exists_at(f.state.sandboxes, "s1/lock"), "%s", names[i]);
        lock = kit_lock(&f, "s1", false);
        cr_assert_eq(unlinkat(lock.dirfd, names[i], AT_REMOVEDIR), 0);
        cr_expect_eq(state_remove(&f.state, "s1", NULL, &lock, NULL), 0);
        cr_expect_not(kit_exists_at(f.state.sandboxes, "s1"));
    }
}

/* A record that cannot be removed keeps its lock: the next one finds it as it was. */
Test(state_dir, record_that_stays)
{
    FIXTURE f;
    struct state_lock lock;
    struct err e = ERR_INIT;
    int r;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    cr_assert_eq(mkdirat(lock.dirfd, RECORD_FILE, 0700), 0);
    r = state_remove(&f.state, "s1", NULL, &lock, &e);
    cr_expect(r == -EISDIR && strstr(e.text, "record.json of sandbox s1"), "%d %s", r, e.text);
    cr_expect(lock.lock_fd < 0 && lock.dirfd < 0, "it is held");
    lock = kit_lock(&f, "s1", false);
    cr_assert_eq(unlinkat(lock.dirfd, RECORD_FILE, AT_REMOVEDIR), 0);
    cr_expect_eq(state_remove(&f.state, "s1", NULL, &lock, &e), 0);
    cr_expect_not(kit_exists_at(f.state.sandboxes, "s1"));
}

Test(state_dir, lookup)
{
    autoarena a = ARENA_INIT;
    const char *id;
    FIXTURE f;
    struct state_lock lock;

    kit_begin_state(&f);
    lock = kit_lock(&f, "s1", true);
    cr_expect(state_lookup(&f.state, "s1", &a, &id) == 0 && strcmp(id, "s1") == 0);
    cr_expect_eq(state_lookup(&f.state, "s2", &a, &id), -ENOENT);
    cr_expect_eq(state_lookup(&f.state, arena_printf(&a, "%0300d", 0), &a, &id), -ENAMETOOLONG,
                 "an error is not an answer");
    state_unlock(&lock);
}
