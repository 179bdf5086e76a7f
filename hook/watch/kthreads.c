/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/kthreads.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "cgroup/controller.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define KTHREADD "2"
/* 4 million pids of 8 bytes each. */
#define LIST_MAX ((size_t)32 << 20)

static const struct {
    const char *prefix;
    enum kthread_kind kind;
} names[] = {
    {"kvm-pit/", KTHREAD_PIT},
    {"vhost-", KTHREAD_VHOST},
    {"kvm-nx-lpage-recovery-", KTHREAD_NX_RECOVERY},
};

static pid_t parse_id(const char *text, size_t len)
{
    uint64_t id;

    return str_to_u64(text, len, &id) == 0 && id <= INT_MAX && *text != '0' ? (pid_t)id : 0;
}

enum kthread_kind kthread_parse(const char *name, pid_t *ret_id)
{
    *ret_id = 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t len = strlen(names[i].prefix);

        if (strncmp(name, names[i].prefix, len) != 0)
            continue;
        *ret_id = parse_id(name + len, strlen(name + len));
        return *ret_id > 0 ? names[i].kind : KTHREAD_OTHER;
    }
    return str_eq(name, "kvm-nx-lpage-re") || str_eq(name, "kthreadd") ? KTHREAD_UNKNOWN
                                                                       : KTHREAD_OTHER;
}

void kthreads_free(struct kthreads *k)
{
    free(k->others);
    free(k->helpers);
    free(k->vmms);
    *k = (struct kthreads){.proc_fd = k->proc_fd, .kvm_dirfd = k->kvm_dirfd};
}

/* ---- listing ---- */

static void add_pid(struct arena *a, struct cg_pids *list, pid_t pid)
{
    ARENA_APPEND(a, list->items, list->count) = pid;
}

static bool has_pid(const pid_t *sorted, size_t count, pid_t pid)
{
    return count > 0 && bsearch(&pid, sorted, count, sizeof pid, cg_pid_compare);
}

/* Every process that /proc shows. */
static int list_all(const struct kthreads *k, struct arena *a, struct cg_pids *ret)
{
    autodir dir = io_opendir_at(k->proc_fd, ".");
    struct dirent *entry;

    if (!dir)
        return -errno;
    while ((entry = io_next_entry(dir))) {
        pid_t pid = parse_id(entry->d_name, strlen(entry->d_name));

        if (pid > 0)
            add_pid(a, ret, pid);
    }
    return 0;
}

static int list_kthreads(struct kthreads *k, struct arena *a, struct cg_pids *ret)
{
    autofree char *text = NULL;
    ssize_t len =
        io_read_all_at(k->proc_fd, KTHREADD "/task/" KTHREADD "/children", LIST_MAX, &text);
    int r = 0;

    *ret = (struct cg_pids){0};
    if (len == -ENOENT)
        r = list_all(k, a, ret);
    else if (len < 0)
        return (int)len;
    for (const char *p = len >= 0 ? text : ""; *p;) {
        size_t width = strcspn(p, " \n");
        pid_t pid = parse_id(p, width);

        if (pid > 0)
            add_pid(a, ret, pid);
        p += width + (p[width] != '\0');
    }
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, cg_pid_compare);
    return r;
}

/* In a pid namespace of our own process 2 is anything, and no kernel thread is in sight. */
static bool can_see(struct kthreads *k)
{
    char comm[80];

    if (!k->asked) {
        k->asked = true;
        k->absent = io_read_at(k->proc_fd, KTHREADD "/comm", comm, sizeof comm) < 0 ||
                    !str_eq(comm, "kthreadd");
    }
    return !k->absent;
}

/* ---- looking ---- */

static bool read_stat(const struct kthreads *k, pid_t pid, struct proc_stat *ret)
{
    char name[32], text[1024];

    snprintf(name, sizeof name, "%d/stat", (int)pid);
    return io_read_at(k->proc_fd, name, text, sizeof text) >= 0 && proc_stat_parse(text, ret) == 0;
}

/* Programs that the kernel starts are children of kthreadd, too, and all others are in a list of
 * all processes. Only a kernel thread has no executable. */
static bool is_kernel(const struct kthreads *k, pid_t pid)
{
    char name[32], target[8];

    snprintf(name, sizeof name, "%d/exe", (int)pid);
    return readlinkat(k->proc_fd, name, target, sizeof target) < 0 && errno == ENOENT;
}

/* One thread that was not known. What can be neither named nor read is looked at again. */
static enum kthread_kind look_at(const struct kthreads *k, pid_t pid, struct kthread *ret)
{
    struct proc_stat st;

    *ret = (struct kthread){.pid = pid, .kind = KTHREAD_UNKNOWN};
    if (!read_stat(k, pid, &st))
        return ret->kind;
    ret->kind = kthread_parse(st.comm, &ret->id);
    ret->start_time = st.start_time;
    if (ret->kind != KTHREAD_OTHER && ret->kind != KTHREAD_UNKNOWN && !is_kernel(k, pid))
        ret->kind = KTHREAD_OTHER;
    return ret->kind;
}

struct helpers {
    struct kthread *items; /* in an arena */
    size_t count;
};

static void add_helper(struct arena *a, struct helpers *list, const struct kthread *h)
{
    ARENA_APPEND(a, list->items, list->count) = *h;
}

/* The list, compared with the last one. All are sorted. True: a timer's thread has come. */
static bool look(struct kthreads *k, const struct cg_pids *list, struct arena *a)
{
    struct cg_pids others = {0};
    struct helpers helpers = {0};
    bool timer = false;

    for (size_t i = 0, h = 0; i < list->count; i++) {
        pid_t pid = list->items[i];
        struct kthread found;

        while (h < k->helper_count && k->helpers[h].pid < pid)
            h++;
        if (h < k->helper_count && k->helpers[h].pid == pid) {
            add_helper(a, &helpers, &k->helpers[h]);
        } else if (has_pid(k->others, k->other_count, pid) ||
                   look_at(k, pid, &found) == KTHREAD_OTHER) {
            add_pid(a, &others, pid);
        } else if (found.kind != KTHREAD_UNKNOWN) {
            timer = timer || found.kind == KTHREAD_PIT;
            add_helper(a, &helpers, &found);
        }
    }
    free(k->others);
    k->others = heap_copy(others.items, others.count * sizeof *others.items);
    k->other_count = others.count;
    free(k->helpers);
    k->helpers = heap_copy(helpers.items, helpers.count * sizeof *helpers.items);
    k->helper_count = helpers.count;
    return timer;
}

/* ---- owners ---- */

/* The number behind "Tgid:", and the last one behind "NStgid:": in the innermost namespace. */
static bool read_ids(const struct kthreads *k, pid_t id, pid_t *ret_tgid, pid_t *ret_inner)
{
    char name[32], text[8192], *cursor = text, *line;
    pid_t tgid = 0, inner = 0;

    snprintf(name, sizeof name, "%d/status", (int)id);
    if (io_read_at(k->proc_fd, name, text, sizeof text) < 0)
        return false;
    while ((line = str_next(&cursor, '\n'))) {
        char *last = strrchr(line, '\t');

        if (last && str_starts(line, "Tgid:\t"))
            tgid = parse_id(last + 1, strlen(last + 1));
        else if (last && str_starts(line, "NStgid:\t"))
            inner = parse_id(last + 1, strlen(last + 1));
    }
    *ret_tgid = tgid;
    *ret_inner = inner;
    return tgid > 0 && inner > 0;
}

static bool holds_vm(const struct kthreads *k, pid_t pid)
{
    char name[32], target[32];
    struct dirent *entry;
    autodir dir = NULL;

    snprintf(name, sizeof name, "%d/fd", (int)pid);
    dir = io_opendir_at(k->proc_fd, name);
    while ((entry = io_next_entry(dir))) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);

        target[len > 0 ? len : 0] = '\0';
        if (str_eq(target, "anon_inode:kvm-vm"))
            return true;
    }
    return false;
}

static bool has_timer(const struct kthreads *k, pid_t number)
{
    for (size_t i = 0; i < k->helper_count; i++) {
        if (k->helpers[i].kind == KTHREAD_PIT && k->helpers[i].id == number)
            return true;
    }
    return false;
}

struct vm {
    pid_t vmm;    /* 0: unknown, the thread that made it has ended */
    pid_t number; /* the VMM's in its own namespace */
};

struct vms {
    struct vm *items; /* in an arena */
    size_t count;
};

/* @id: a thread of its VMM. @known: there is a VM, otherwise that has to be seen. */
static void add_vm(const struct kthreads *k, pid_t id, bool known, struct arena *a, struct vms *ret)
{
    struct vm vm = {0};
    bool add = known;

    if (read_ids(k, id, &vm.vmm, &vm.number))
        add = has_timer(k, vm.number) && (known || holds_vm(k, vm.vmm));
    if (add)
        ARENA_APPEND(a, ret->items, ret->count) = vm;
}

/* All VMs of the host whose numbers timers have. KVM names them "<thread>-<fd>", but not ours if
 * the thread that made it has ended. */
static void read_vms(const struct kthreads *k, struct arena *a, struct vms *ret)
{
    bool known = k->kvm_dirfd >= 0;
    autodir dir = io_opendir_at(known ? k->kvm_dirfd : k->proc_fd, ".");
    struct dirent *entry;

    while ((entry = io_next_entry(dir))) {
        size_t width = strcspn(entry->d_name, "-");
        pid_t id = parse_id(entry->d_name, width);

        if (id > 0 && (!known || entry->d_name[width] == '-'))
            add_vm(k, id, known, a, ret);
    }
    for (size_t i = 0; i < k->vmm_count; i++)
        add_vm(k, k->vmms[i], false, a, ret);
}

static bool is_vmm(const struct kthreads *k, pid_t pid)
{
    for (size_t i = 0; i < k->vmm_count; i++) {
        if (k->vmms[i] == pid)
            return true;
    }
    return false;
}

/* Among all VMs with the timer's number, ours and others. */
static void judge_timer(const struct kthreads *k, const struct vms *vms, struct kthread *h)
{
    bool others = false;

    h->owner = 0;
    for (size_t i = 0; i < vms->count; i++) {
        const struct vm *vm = &vms->items[i];

        if (vm->number == h->id && is_vmm(k, vm->vmm))
            h->owner = vm->vmm;
        else if (vm->number == h->id || vm->vmm == 0)
            others = true;
    }
    h->unsure = h->owner > 0 && others;
}

/* Its name has a thread of the VMM. */
static void judge_by_thread(const struct kthreads *k, struct kthread *h)
{
    char name[64];

    for (size_t i = 0; !h->judged && h->owner == 0 && i < k->vmm_count; i++) {
        snprintf(name, sizeof name, "%d/task/%d", (int)k->vmms[i], (int)h->id);
        if (faccessat(k->proc_fd, name, F_OK, 0) == 0)
            h->owner = k->vmms[i];
    }
    h->judged = true;
}

/* Owners are looked for once, and again when the VMMs are others than before. */
static bool same_vmms(struct kthreads *k, const pid_t *vmms, size_t count)
{
    bool same = k->vmm_count == count;

    for (size_t i = 0; same && i < count; i++)
        same = k->vmms[i] == vmms[i];
    if (same)
        return true;
    free(k->vmms);
    k->vmms = heap_copy(vmms, count * sizeof *vmms);
    k->vmm_count = count;
    for (size_t i = 0; i < k->helper_count; i++) {
        k->helpers[i].judged = false;
        k->helpers[i].owner = 0;
    }
    return false;
}

static void find_owners(struct kthreads *k, bool timers, struct arena *a)
{
    struct vms vms = {0};
    bool read = false;

    for (size_t i = 0; i < k->helper_count; i++) {
        struct kthread *h = &k->helpers[i];

        if (h->kind != KTHREAD_PIT) {
            judge_by_thread(k, h);
        } else if (timers) {
            if (!read)
                read_vms(k, a, &vms);
            read = true;
            judge_timer(k, &vms, h);
        }
    }
}

int kthreads_find(struct kthreads *k, const pid_t *vmms, size_t count, struct arena *a,
                  struct cg_pids *ret, struct cg_pids *ret_unsure, struct err *e)
{
    autoarena scratch = ARENA_INIT;
    struct cg_pids list;
    bool timers;
    int r;

    *ret = *ret_unsure = (struct cg_pids){0};
    if (!can_see(k))
        return 0;
    r = list_kthreads(k, &scratch, &list);
    if (r < 0)
        return err_sys(e, r, "cannot list the kernel's threads in /proc");
    timers = look(k, &list, &scratch);
    timers = !same_vmms(k, vmms, count) || timers;
    find_owners(k, timers, &scratch);
    for (size_t i = 0; i < k->helper_count; i++) {
        if (k->helpers[i].owner > 0)
            add_pid(a, k->helpers[i].unsure ? ret_unsure : ret, k->helpers[i].pid);
    }
    return 0;
}

/* 1 moved; 0 there already, or ended. */
static int place(const struct kthreads *k, struct kthread *h, struct cg_controller *home,
                 const struct cg_controller *overhead, struct err *e)
{
    struct kthread now;
    int r;

    if (h->refused || cg_holds(home, h->pid) != 0 || cg_holds(overhead, h->pid) == 1)
        return 0;
    /* A pid that was listed may be another thread's by now. */
    if (look_at(k, h->pid, &now) != h->kind || now.id != h->id || now.start_time != h->start_time)
        return 0;
    r = cg_add_process(home, &(struct proc_id){h->pid, h->start_time}, e);
    if (r == -ESRCH) {
        err_reset(e);
        return 0;
    }
    if (r == 0)
        return 1;
    /* A kthread that waits for its first time slice cannot be moved (no_cgroup_migration in kernel/kthread.c). */
    if (h->refused_us == 0)
        h->refused_us = io_now_us();
    h->refused = io_now_us() - h->refused_us >= KTHREADS_REFUSED_US;
    if (h->refused)
        return r;
    err_reset(e);
    return 0;
}

int kthreads_place(struct kthreads *k, struct cg_controller *home,
                   const struct cg_controller *overhead, const pid_t *vmms, size_t count,
                   struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids mine, unsure;
    int moved = 0, first = kthreads_find(k, vmms, count, &a, &mine, &unsure, e);

    if (first < 0)
        return first;
    for (size_t i = 0; i < k->helper_count; i++) {
        struct kthread *h = &k->helpers[i];
        int r = h->owner > 0 && !h->unsure ? place(k, h, home, overhead, first < 0 ? NULL : e) : 0;

        if (r > 0)
            moved += r;
        else if (r < 0 && first == 0)
            first = r;
    }
    return first < 0 ? first : moved;
}
