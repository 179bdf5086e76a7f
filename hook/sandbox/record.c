/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/record.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_FILE        "lock"
#define REPORT_FILE      "placement.json" /* see placement.h */
#define RECORD_MAX_BYTES ((size_t)64 << 20)

static const struct json_field process_fields[] = {
    JSON_F_I64("pid", struct record_process, pid, 0, INT32_MAX),
    JSON_F_U64("start_time", struct record_process, start_time, UINT64_MAX),
};
static const struct json_table process_table = {
    .fields = process_fields,
    .count = ARRAY_SIZE(process_fields),
    .size = sizeof(struct record_process),
};

static const struct json_field container_fields[] = {
    JSON_F_STRING("id", struct record_container, id),
    JSON_F_STRING("bundle", struct record_container, bundle),
    JSON_F_OBJECT("init", struct record_container, init, &process_table),
    JSON_F_OBJECT("placeholder", struct record_container, placeholder, &process_table),
    JSON_F_STRING("runtime_path", struct record_container, runtime_path),
    JSON_F_OBJECT("resources", struct record_container, resources, &oci_resources_table),
};
static const struct json_table container_table = {
    .fields = container_fields,
    .count = ARRAY_SIZE(container_fields),
    .size = sizeof(struct record_container),
};

static const struct json_field record_fields[] = {
    JSON_F_I64("schema", struct record, schema, 0, INT32_MAX),
    JSON_F_STRING("boot_id", struct record, boot_id),
    JSON_F_STRING("sandbox_id", struct record, sandbox_id),
    JSON_F_BOOL("sandbox_cgroup_only", struct record, sandbox_cgroup_only),
    JSON_F_STRING("policy_source", struct record, policy_source),
    JSON_F_STRING("manager", struct record, manager),
    JSON_F_STRING("mode", struct record, mode),
    JSON_F_STRING("layout", struct record, layout),
    JSON_F_BOOL("enable_vcpus_pinning", struct record, enable_vcpus_pinning),
    JSON_F_STRING("parent_path", struct record, parent_path),
    JSON_F_STRING("sandbox_path", struct record, sandbox_path),
    JSON_F_STRING("vcpu_path", struct record, vcpu_path),
    JSON_F_STRING("overhead_path", struct record, overhead_path),
    JSON_F_STRING("slice", struct record, slice),
    JSON_F_STRING("sandbox_unit", struct record, sandbox_unit),
    JSON_F_STRING("overhead_unit", struct record, overhead_unit),
    JSON_F_OBJECT("watcher", struct record, watcher, &process_table),
    JSON_F_OBJECT("placeholder", struct record, placeholder, &process_table),
    JSON_F_OBJECT_LIST("containers", struct record, containers, &container_table),
};
static const struct json_table record_table = {
    .fields = record_fields,
    .count = ARRAY_SIZE(record_fields),
    .size = sizeof(struct record),
};

struct proc_id record_process_id(const struct record_process *p)
{
    return p ? (struct proc_id){(pid_t)p->pid.value, p->start_time.value} : (struct proc_id){0};
}

struct record_process *record_process_new(struct arena *a, const struct proc_id *id)
{
    struct record_process *p = arena_alloc(a, sizeof *p);

    p->pid = (struct json_i64){true, id->pid};
    p->start_time = (struct json_u64){true, id->start_time};
    return p;
}

struct record_container *record_find(const struct record *r, const char *container_id)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (c->id && str_eq(c->id, container_id))
            return c;
    }
    return NULL;
}

/* The document has no word for it. */
static void mark_beginner(struct record *r)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (c->resources)
            c->resources->begins_pod = str_eq(c->id, r->sandbox_id);
    }
}

bool record_container_is_alive(const struct record_container *c)
{
    struct proc_id init = record_process_id(c->init);

    return proc_alive(&init);
}

bool record_is_alive(const struct record *r)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        if (record_container_is_alive(&JSON_AT(r->containers, struct record_container, i)))
            return true;
    }
    return false;
}

static int open_part(int top, const char *name, bool make)
{
    int fd;

    if (make && mkdirat(top, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(top, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int state_dir_open(const char *path, bool make, struct state_dir *ret, struct err *e)
{
    autofd top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    *ret = (struct state_dir)STATE_DIR_INIT;
    if (top < 0 && errno == ENOENT && make)
        top = io_mkdirs(AT_FDCWD, path, 0700);
    else if (top < 0)
        top = -errno;
    if (top < 0)
        return err_sys(e, top, "cannot open the state directory %s", path);
    ret->sandboxes = open_part(top, "sandboxes", make);
    ret->containers = open_part(top, "containers", make);
    ret->paths = open_part(top, "paths", make);
    ret->parents.dirfd = open_part(top, "parents", make);
    if (ret->sandboxes < 0 || ret->containers < 0 || ret->paths < 0 || ret->parents.dirfd < 0) {
        int r = ret->sandboxes < 0    ? ret->sandboxes
                : ret->containers < 0 ? ret->containers
                : ret->paths < 0      ? ret->paths
                                      : ret->parents.dirfd;

        state_dir_close(ret);
        return err_sys(e, r, "cannot open the directories in the state directory %s", path);
    }
    return 0;
}

void state_dir_close(struct state_dir *s)
{
    fd_close(&s->sandboxes);
    fd_close(&s->containers);
    fd_close(&s->paths);
    fd_close(&s->parents.dirfd);
}

/*
 * The sandbox may have been removed, and made anew, between opening its lock and getting it; its
 * directory may even be the same one with another lock in it. What counts is the file that the next
 * one opens.
 */
static bool is_current(const struct state_dir *s, const char *sandbox_id, int lock_fd)
{
    char path[NAME_MAX + sizeof LOCK_FILE + 2];
    struct stat held, named;

    snprintf(path, sizeof path, "%s/" LOCK_FILE, sandbox_id);
    return fstat(lock_fd, &held) == 0 &&
           fstatat(s->sandboxes, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* One try. 1: got it; 0: the sandbox changed under us, try again; -errno. */
static int try_lock(const struct state_dir *s, const char *sandbox_id, bool make, int timeout_ms,
                    struct record_lock *ret, struct err *e)
{
    autofd dir = openat(s->sandboxes, sandbox_id, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    autofd file = FD_NONE;
    int r;

    if (dir < 0 && errno == ENOENT && make)
        return 0;
    if (dir < 0)
        return err_sys(e, -errno, "cannot open the record of sandbox %s", sandbox_id);
    file = openat(dir, LOCK_FILE, O_RDWR | (make ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0 && errno == ENOENT && make) /* the directory was removed */
        return 0;
    if (file < 0)
        return err_sys(e, -errno, "cannot open the lock of sandbox %s", sandbox_id);
    r = io_lock(file, timeout_ms);
    if (r == -ETIMEDOUT)
        return err_sys(e, r, "cannot lock sandbox %s: another stage holds it", sandbox_id);
    if (r < 0)
        return err_sys(e, r, "cannot lock sandbox %s", sandbox_id);
    if (!is_current(s, sandbox_id, file))
        return 0;
    ret->dirfd = fd_take(&dir);
    ret->lock_fd = fd_take(&file);
    return 1;
}

int record_lock(const struct state_dir *s, const char *sandbox_id, bool make, int timeout_ms,
                struct record_lock *ret, struct err *e)
{
    int r = 0;

    *ret = (struct record_lock)RECORD_LOCK_INIT;
    while (r == 0) {
        if (make && mkdirat(s->sandboxes, sandbox_id, 0700) < 0 && errno != EEXIST)
            return err_sys(e, -errno, "cannot make the record of sandbox %s", sandbox_id);
        r = try_lock(s, sandbox_id, make, timeout_ms, ret, e);
    }
    /* Refused if there is a record in it, or somebody's lock. */
    if (r < 0 && make)
        unlinkat(s->sandboxes, sandbox_id, AT_REMOVEDIR);
    return r < 0 ? r : 0;
}

void record_abandon(const struct state_dir *s, const char *sandbox_id, const char *path,
                    struct record_lock *lock)
{
    if (lock->dirfd >= 0 && faccessat(lock->dirfd, RECORD_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno == ENOENT)
        record_remove(s, sandbox_id, path, lock);
}

void record_unlock(struct record_lock *lock)
{
    /* Not by close alone: a child of ours may still have the descriptor. */
    if (lock->lock_fd >= 0)
        flock(lock->lock_fd, LOCK_UN);
    fd_close(&lock->lock_fd);
    fd_close(&lock->dirfd);
}

static int read_boot_id(char *buf, size_t size, struct err *e)
{
    ssize_t len = io_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", buf, size);

    return len < 0 ? err_sys(e, (int)len, "cannot read /proc/sys/kernel/random/boot_id") : 0;
}

/* Members that every step relies on. */
static bool is_complete(const struct record *r)
{
    if (!r->boot_id || !r->sandbox_id || !r->sandbox_path || !r->vcpu_path || !r->parent_path ||
        !r->mode || !r->manager || (r->sandbox_unit && !r->slice))
        return false;
    if (!r->sandbox_cgroup_only.set || (!r->sandbox_cgroup_only.value && !r->overhead_path))
        return false;
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (!c->id || !c->init)
            return false;
    }
    return true;
}

int record_read(const struct record_lock *lock, struct arena *a, struct record *ret,
                enum record_state *ret_state, struct err *e)
{
    const struct json_doc doc = {.table = &record_table, .dest = ret};
    autofd fd = openat(lock->dirfd, RECORD_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char boot_id[64];
    int r;

    *ret = (struct record){0};
    *ret_state = RECORD_NONE;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_sys(e, -errno, "cannot open " RECORD_FILE);
    r = json_read_fd(fd, &doc, 1, RECORD_MAX_BYTES, 0, RECORD_FILE, a, e);
    if (r < 0) {
        if (e)
            e->bad_input = false; /* not what the runtime gave us */
        return -EPROTO;
    }
    if (!ret->schema.set || ret->schema.value != RECORD_SCHEMA)
        return err_set(e, -EPROTO,
                       RECORD_FILE ": schema %lld is not %d: it is from another version of "
                                   "this program",
                       (long long)ret->schema.value, RECORD_SCHEMA);
    if (!is_complete(ret))
        return err_set(e, -EPROTO, RECORD_FILE ": members are missing");
    mark_beginner(ret);
    r = read_boot_id(boot_id, sizeof boot_id, e);
    if (r < 0)
        return r;
    *ret_state = str_eq(boot_id, ret->boot_id) ? RECORD_VALID : RECORD_OTHER_BOOT;
    return 0;
}

void record_write_json(struct json_writer *w, const char *key, const struct record *r)
{
    json_write_table(w, key, &record_table, r);
}

int record_write(const struct record_lock *lock, struct arena *a, struct record *r, struct err *e)
{
    char boot_id[64];
    struct json_writer *w;
    const char *text;
    size_t len;
    int ret = read_boot_id(boot_id, sizeof boot_id, e);

    if (ret < 0)
        return ret;
    r->schema = (struct json_i64){true, RECORD_SCHEMA};
    r->boot_id = arena_strdup(a, boot_id);
    w = json_writer_new(false);
    record_write_json(w, NULL, r);
    text = json_writer_text(w, &len);
    ret = io_replace_at(lock->dirfd, RECORD_FILE, text, len);
    json_writer_free(w);
    if (ret < 0)
        return err_sys(e, ret, "cannot write " RECORD_FILE " of sandbox %s", r->sandbox_id);
    return 0;
}

void record_remove(const struct state_dir *s, const char *sandbox_id, const char *path,
                   struct record_lock *lock)
{
    unlinkat(lock->dirfd, RECORD_FILE, 0);
    if (path)
        claim_release(s, sandbox_id, path);
    unlinkat(lock->dirfd, RECORD_FILE ".tmp", 0);
    unlinkat(lock->dirfd, REPORT_FILE, 0);
    unlinkat(lock->dirfd, REPORT_FILE ".tmp", 0);
    unlinkat(lock->dirfd, LOCK_FILE, 0);
    unlinkat(s->sandboxes, sandbox_id, AT_REMOVEDIR);
    record_unlock(lock);
}

int record_link(const struct state_dir *s, const char *container_id, const char *sandbox_id,
                struct err *e)
{
    if (str_eq(container_id, sandbox_id))
        return 0;
    if (symlinkat(sandbox_id, s->containers, container_id) == 0)
        return 0;
    if (errno == EEXIST && unlinkat(s->containers, container_id, 0) == 0 &&
        symlinkat(sandbox_id, s->containers, container_id) == 0)
        return 0;
    return err_sys(e, -errno, "cannot remember the sandbox of container %s", container_id);
}

/* The sandbox that a container's link names. False: there is none, or it is damaged. */
static bool read_link(const struct state_dir *s, const char *container_id,
                      char target[static NAME_MAX + 1])
{
    ssize_t len = readlinkat(s->containers, container_id, target, NAME_MAX + 1);

    if (len <= 0 || len > NAME_MAX || memchr(target, '/', (size_t)len))
        return false;
    target[len] = '\0';
    return !str_eq(target, ".") && !str_eq(target, "..");
}

void record_unlink(const struct state_dir *s, const char *container_id, const char *sandbox_id)
{
    char target[NAME_MAX + 1];

    if (!sandbox_id || !read_link(s, container_id, target) || str_eq(target, sandbox_id))
        unlinkat(s->containers, container_id, 0);
}

int record_lookup(const struct state_dir *s, const char *container_id, struct arena *a,
                  const char **ret_sandbox_id)
{
    char target[NAME_MAX + 1];

    if (faccessat(s->sandboxes, container_id, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        *ret_sandbox_id = container_id;
        return 0;
    }
    if (!read_link(s, container_id, target))
        return -ENOENT;
    *ret_sandbox_id = arena_strdup(a, target);
    return 0;
}

int record_list(const struct state_dir *s, struct arena *a, const char ***ret, size_t *ret_count,
                struct err *e)
{
    autodir dir = io_opendir_at(s->sandboxes, ".");
    struct dirent *entry;

    *ret = NULL;
    *ret_count = 0;
    if (!dir)
        return err_sys(e, -errno, "cannot list the sandboxes");
    while ((entry = io_next_entry(dir))) {
        ARENA_APPEND(a, *ret, *ret_count) = arena_strdup(a, entry->d_name);
    }
    return 0;
}

size_t record_sample(const struct state_dir *s, size_t max, char (*ret)[NAME_MAX + 1])
{
    autodir dir = io_opendir_at(s->sandboxes, ".");
    uint64_t random = io_now_us();
    struct dirent *entry;
    size_t seen = 0;

    /* Each name takes the place of an earlier one so often that all end up equally likely. */
    while ((entry = io_next_entry(dir))) {
        size_t place = seen++;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (seen > max)
            place = (size_t)((random >> 33) % seen);
        if (place < max)
            snprintf(ret[place], NAME_MAX + 1, "%s", entry->d_name);
    }
    return seen < max ? seen : max;
}
