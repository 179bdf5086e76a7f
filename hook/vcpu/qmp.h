/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_VCPU_QMP_H
#define HOOK_VCPU_QMP_H

/*
 * vCPU threads by QEMU's own word: the command query-cpus-fast of its QMP monitor, where the
 * command line names a UNIX socket for it.
 *
 * Everything here is in the hands of the VMM, which may be hostile: its command line, the socket's
 * path, what answers there, and when. So
 *   - the path is looked up in the VMM's own root and cannot lead out of it, by links or "..";
 *   - nothing is sent to a socket that another process listens on, or before a QMP greeting came;
 *   - one deadline holds for all of it, and what is read is bounded;
 *   - a thread id counts only if it is that of a thread of this very VMM, so that a lie can do no
 *     more than a thread's name can: put more of the VMM's own threads under the limit.
 *
 * A monitor has one client at a time. While we are connected (a few milliseconds) another client
 * waits for its greeting; while another one is, we time out. And a socket without wait=off holds
 * QEMU's start up until the first client comes: ask only a VMM that is past that, for instance one
 * that has vCPUs (see vmm.h) or is some seconds old.
 *
 * Not found: monitors from -readconfig, sockets handed over as descriptors (libvirt), TCP.
 *
 * QEMU: docs/interop/qmp-spec, qapi/machine.json (query-cpus-fast, since 2.12), util/qemu-option.c.
 */

#include "hook/vcpu/vcpu.h"

#include <stddef.h>

struct err;

/* --- pure --- */

#define QMP_SOCKETS_MAX 16

/* Paths as QEMU has them: of its own root, relative ones of its working directory. */
struct qmp_sockets {
    char **items; /* in the arena, like the paths */
    size_t count; /* at most QMP_SOCKETS_MAX; later ones are left out */
};

/*
 * The QMP sockets in a command line, in its order.
 * @cmdline  of /proc/PID/cmdline: arguments, each ended by a NUL; the last NUL may be missing.
 * Understood: -qmp and -qmp-pretty with unix:PATH,server=on or chardev:ID, and -mon with
 * mode=control and the id of a -chardev socket,path=PATH,server=on; each with one or two dashes.
 * Left out: what has no path in the file system (fd=, abstract=on, tcp:), what speaks another
 * protocol first (telnet, tn3270, websocket, tls-creds), and sockets on which QEMU does not listen.
 * Nothing is an error: what cannot be understood names no socket.
 */
void qmp_find_sockets(const char *cmdline, size_t len, struct arena *a, struct qmp_sockets *ret);

/*
 * The id of a thread in its innermost pid namespace, which is how its process knows it.
 * @status  the text of /proc/PID/task/TID/status.
 * Returns the id; 0 when there is no "NSpid" line (a kernel without pid namespaces) or no id in it.
 */
pid_t qmp_inner_tid(const char *status);

/* --- asking --- */

/* A longer command line is not looked at. */
#define QMP_CMDLINE_MAX ((size_t)256 << 10)
/* Of one message. QEMU's answer for 512 vCPUs has about 0.13 MB. */
#define QMP_MESSAGE_MAX ((size_t)1 << 20)

/*
 * Ask on one socket.
 * @pid, @proc  the VMM's process, as we see it, and /proc/PID: a descriptor of that cannot become
 *              another process's.
 * @path        as in struct qmp_sockets.
 * @timeout_ms  for all of it, above 0. Exceeded by no more than a system call takes; but looking up
 *              a path takes as long as the VMM's file systems make it (a dead NFS server): so
 *              the watcher does all of this in a child, see ask.h.
 * @a, @ret     the threads with their host ids and QEMU's cpu-index (VCPU_NO_INDEX if it gave
 *              none), by thread id, each thread once: QEMU runs all vCPUs in one thread with
 *              "-accel tcg,thread=single", it has the lowest index then. Empty on failure.
 * Returns 0, also when none of the ids was known. Otherwise, with the text in @e, and for the
 * caller always the same, namely to do without this source and perhaps to ask again much later:
 *   -ETIMEDOUT     silent, slow, or busy with another client
 *   -EPROTO        closed early, no JSON, no QMP, an error, an answer that cannot be, or too long
 *   -ECONNREFUSED  nobody listens on the socket any more
 *   -EPERM         another process listens on it
 *   -ENOENT, -ENOTDIR, -ELOOP, -EACCES  the path cannot be opened in the VMM's root
 *   -ENOTSOCK, -EPROTOTYPE  what is there is no socket, or no stream socket
 *   -EXDEV         a relative path, and the working directory is not in the root
 *   -ESRCH         the process has gone
 *   -ENOSYS        before Linux 5.6, without openat2(2): not asked, rather than asked unsafely
 *   other -errno   from /proc or socket(2).
 */
int qmp_query_socket(pid_t pid, int proc, const char *path, int timeout_ms, struct arena *a,
                     struct vcpu_kvm *ret, struct err *e);

/*
 * Find the sockets in the process's command line, and ask on each in turn until one answers.
 * @timeout_ms  for all of them; of what is left each gets its equal share.
 * As qmp_query_socket(), the first socket's failure if all fail; and
 *   -ENODATA  the command line names no usable socket: most processes, not worth a message
 *   -EFBIG    the command line is longer than QMP_CMDLINE_MAX.
 */
int qmp_query_vcpus(pid_t pid, int timeout_ms, struct arena *a, struct vcpu_kvm *ret,
                    struct err *e);

#endif
