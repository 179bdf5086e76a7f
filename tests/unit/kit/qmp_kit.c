/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/qmp_kit.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

char kit_place[64];

void kit_make_place(void)
{
    snprintf(kit_place, sizeof kit_place, "/tmp/osc-unit-qmp-XXXXXX");
    kit_make_dir(kit_place);
}

void kit_remove_place(void)
{
    kit_remove_tree(kit_place);
}

const char *kit_in_place(struct arena *a, const char *name)
{
    return arena_printf(a, "%s/%s", kit_place, name);
}

/* -1 and errno, for use in children as well. */
int kit_bind_at(const char *path, int type)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    autofd fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&name, sizeof name) < 0)
        return -1;
    return fd_take(&fd);
}

int kit_listen_at(const char *path)
{
    int fd = kit_bind_at(path, SOCK_STREAM);

    if (fd >= 0 && listen(fd, 1) < 0)
        fd_close(&fd);
    return fd;
}

bool kit_say(const struct kit_monitor *m, int fd, const char *text)
{
    for (; *text; text++) {
        char bytes[16];
        int len = *text == '@' ? snprintf(bytes, sizeof bytes, "%d", (int)getpid())
                               : snprintf(bytes, sizeof bytes, "%c", *text);
        const char *end = strchrnul(text, '@');

        if (m->nap_us == 0 && end > text) {
            if (send(fd, text, (size_t)(end - text), MSG_NOSIGNAL) != end - text)
                return false;
            text = end - 1;
            continue;
        }
        if (send(fd, bytes, (size_t)len, MSG_NOSIGNAL) != len)
            return false;
        if (m->nap_us > 0)
            usleep(m->nap_us);
    }
    return true;
}

static bool hear(struct kit_monitor *m, int fd)
{
    size_t len = strlen(m->lines);
    char c;

    while (read(fd, &c, 1) == 1) {
        if (len + 1 < sizeof m->lines)
            m->lines[len++] = c;
        if (c == '\n') {
            m->heard++;
            return true;
        }
    }
    return false;
}

void *kit_serve(void *arg)
{
    struct kit_monitor *m = arg;
    autofd fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);

    for (size_t i = 0; i < ARRAY_SIZE(m->says); i++) {
        if (m->says[i] && (str_empty(m->says[i]) || !kit_say(m, fd, m->says[i])))
            return NULL;
        if (!m->says[i])
            break;
        if (i + 1 < ARRAY_SIZE(m->says) && !hear(m, fd))
            return NULL;
    }
    while (hear(m, fd))
        ;
    return NULL;
}

/* "tid:index ..." with "@" for our process id, or "ENAME". */
const char *kit_cpus_text(struct arena *a, int r, const struct vcpu_kvm *cpus)
{
    const char *text = "";

    if (r < 0)
        return strerrorname_np(-r);
    for (size_t i = 0; i < cpus->count; i++) {
        const struct vcpu_kvm_thread *t = &cpus->items[i];

        text = t->tid == getpid()
                   ? arena_printf(a, "%s%s@:%d", text, i > 0 ? " " : "", t->index)
                   : arena_printf(a, "%s%s%d:%d", text, i > 0 ? " " : "", (int)t->tid, t->index);
    }
    return text;
}

int kit_query_socket(pid_t pid, const char *path, int timeout_ms, struct arena *a,
                     struct vcpu_kvm *ret, struct err *e)
{
    char dir[32];
    autofd proc = FD_NONE;

    snprintf(dir, sizeof dir, "/proc/%d", (int)pid);
    proc = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return qmp_query_socket(pid, proc, path, timeout_ms, a, ret, e);
}

const char *kit_ask_monitor(struct kit_monitor *m, const char *path, int timeout_ms,
                            struct arena *a, struct err *e)
{
    pthread_t thread;
    struct vcpu_kvm cpus;
    int r;

    m->listener = kit_listen_at(path);
    cr_assert(m->listener >= 0, "%s: %d", path, errno);
    cr_assert_eq(pthread_create(&thread, NULL, kit_serve, m), 0);
    memset(&cpus, 0x5a, sizeof cpus);
    r = kit_query_socket(getpid(), path, timeout_ms, a, &cpus, e);
    shutdown(m->listener, SHUT_RDWR); /* should nobody have come */
    pthread_join(thread, NULL);
    close(m->listener);
    unlink(path);
    cr_expect(r == 0 || cpus.count == 0, "a failure with %zu CPUs", cpus.count);
    return kit_cpus_text(a, r, &cpus);
}
