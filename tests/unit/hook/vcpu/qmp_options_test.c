/* SPDX-License-Identifier: Apache-2.0 */

/* QEMU's command line, and the ids of its threads. */

#include "hook/vcpu/qmp.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <sys/socket.h>

/* --- the command line --- */

/* Arguments are separated by '|' here. Paths likewise in the result. */
static const struct {
    const char *cmdline, *want;
} cmdlines[] = {
    {"qemu|-qmp|unix:/run/q.sock,server=on,wait=off", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server,nowait", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,nowait,server", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server=yes", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server=true", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server=y", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,,server=on,server=on", "/run/q.sock,server=on"},
    {"qemu|--qmp|unix:/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|-qmp-pretty|unix:/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|--qmp-pretty|unix:/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|-qmp|unix:path=/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|-qmp|unix:q.sock,server=on", "q.sock"},
    {"qemu|-qmp|unix:./a/../q.sock,server=on", "./a/../q.sock"},
    /* commas in values */
    {"qemu|-qmp|unix:/run/a,,b.sock,server=on", "/run/a,b.sock"},
    {"qemu|-qmp|unix:/run/a,,,,b.sock,server=on", "/run/a,,b.sock"},
    {"qemu|-qmp|unix:/run/a,,,server=on", "/run/a,"},
    {"qemu|-qmp|unix:,,,server=on", ","},
    {"qemu|-qmp|unix:path=a,,b=c,server=on", "a,b=c"},
    {"qemu|-qmp|unix:/run/a,,b=c,server=on", "/run/a,b=c"},
    /* the last one counts */
    {"qemu|-qmp|unix:/a,server=off,server=on", "/a"},
    {"qemu|-qmp|unix:/a,server=on,server=off", ""},
    {"qemu|-qmp|unix:/a,server=on,noserver", ""},
    {"qemu|-qmp|unix:/a,server=on,path=/b", "/b"},
    /* not a server, not a path, not plain */
    {"qemu|-qmp|unix:/run/q.sock", ""},
    {"qemu|-qmp|unix:/run/q.sock,server=off", ""},
    {"qemu|-qmp|unix:/run/q.sock,server=1", ""},
    {"qemu|-qmp|unix:/run/q.sock,wait=off", ""},
    {"qemu|-qmp|unix:fd=3,server=on,wait=off", ""},
    {"qemu|-qmp|unix:/a,fd=3,server=on", ""},
    {"qemu|-qmp|unix:/a,server=on,abstract=on", ""},
    {"qemu|-qmp|unix:/a,server=on,abstract", ""},
    {"qemu|-qmp|unix:/a,server=on,abstract=off", "/a"},
    {"qemu|-qmp|unix:/a,server=on,telnet=on", ""},
    {"qemu|-qmp|unix:/a,server=on,websocket=on", ""},
    {"qemu|-qmp|unix:/a,server=on,tn3270", ""},
    {"qemu|-qmp|unix:/a,server=on,tls-creds=t", ""},
    {"qemu|-qmp|unix:/run/a=b,server=on", ""},
    {"qemu|-qmp|unix:", ""},
    {"qemu|-qmp|unix:,server=on", ""},
    {"qemu|-qmp|unix:path=,server=on", ""},
    {"qemu|-qmp|tcp:localhost:4444,server=on", ""},
    {"qemu|-qmp|stdio", ""},
    {"qemu|-qmp|/run/q.sock,server=on", ""},
    {"qemu|-qmp|", ""},
    {"qemu|-qmp", ""},
    {"qemu|-monitor|unix:/run/q.sock,server=on", ""},
    {"qemu|-serial|unix:/run/q.sock,server=on", ""},
    {"qemu|qmp|unix:/run/q.sock,server=on", ""},
    {"qemu|---qmp|unix:/run/q.sock,server=on", ""},
    {"qemu|-qmpx|unix:/run/q.sock,server=on", ""},
    {"qemu|-qm|unix:/run/q.sock,server=on", ""},
    {"qemu|-|--", ""},
    {"qemu", ""},
    {"", ""},
    {"|", ""},
    {"||||", ""},
    /* -mon */
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|chardev=m,mode=control", "/m"},
    {"qemu|-chardev|socket,id=m,path=/m,server=on,wait=off|-mon|m,mode=control", "/m"},
    {"qemu|--chardev|socket,id=m,path=/m,server|--mon|m,mode=control,pretty=on", "/m"},
    {"qemu|-mon|mode=control,chardev=m|-chardev|socket,id=m,path=/m,server=on", "/m"},
    {"qemu|-chardev|backend=socket,id=m,path=/a,,b,server=on|-mon|m,mode=control", "/a,b"},
    {"qemu|-chardev|socket,id=a,,b,path=/m,server=on|-mon|a,,b,mode=control", "/m"},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-qmp|chardev:m", "/m"},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|m", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|m,mode=readline", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|m,mode=control,mode=readline", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|mm,mode=control", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|mode=control", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-qmp|chardev:", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on", ""},
    {"qemu|-chardev|socket,id=m,path=/m|-mon|m,mode=control", ""},
    {"qemu|-chardev|socket,id=m,fd=31,server=on,wait=off|-mon|m,mode=control", ""},
    {"qemu|-chardev|socket,id=m,host=h,port=1,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|socket,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|pipe,id=m,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|file,id=m,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|id=m,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-mon|m,mode=control|-chardev", ""},
    /* several */
    {"qemu|-qmp|unix:/1,server=on|-qmp|unix:/2,server=on", "/1|/2"},
    {"qemu|-chardev|socket,id=b,path=/2,server=on|-qmp|unix:/1,server=on|-mon|b,mode=control|"
     "-qmp|unix:fd=4,server=on|-qmp-pretty|unix:/3,server=on",
     "/1|/2|/3"},
    {"qemu|-mon|b,mode=control|-mon|a,mode=control|-chardev|socket,id=a,path=/a,server=on|"
     "-chardev|socket,id=b,path=/b,server=on",
     "/b|/a"},
    {"qemu|-name|x,debug-threads=on|-smp|2|-append|a -qmp unix:/no,server=on|-qmp|"
     "unix:/yes,server=on|-S",
     "/yes"},
};

static char *find(struct arena *a, const char *cmdline, bool ended)
{
    size_t len = strlen(cmdline);
    char *text = arena_strndup(a, cmdline, len), *got = arena_strdup(a, "");
    struct qmp_sockets sockets;

    for (size_t i = 0; i < len; i++)
        text[i] = text[i] == '|' ? '\0' : text[i];
    qmp_find_sockets(text, len + (ended && len > 0), a, &sockets);
    for (size_t i = 0; i < sockets.count; i++)
        got = arena_printf(a, "%s%s%s", got, i > 0 ? "|" : "", sockets.items[i]);
    return got;
}

Test(qmp_options, find_sockets)
{
    for (size_t i = 0; i < ARRAY_SIZE(cmdlines); i++) {
        for (int ended = 0; ended < 2; ended++) {
            autoarena a = ARENA_INIT;
            const char *got = find(&a, cmdlines[i].cmdline, ended);

            cr_expect_str_eq(got, cmdlines[i].want, "input:    %s%s\nexpected: %s\ngot:      %s",
                             cmdlines[i].cmdline, ended ? "" : " (without the last NUL)",
                             cmdlines[i].want, got);
        }
    }
}

/* Hostile lengths cost time and memory that grow no faster than they do. */
Test(qmp_options, find_sockets_long)
{
    static const char *const parts[] = {
        "-qmp|unix:/x,server=on|",
        "-mon|m,mode=control|",
        "-chardev|socket,id=n,path=/n,server=on|",
        ",",
        "a,",
        "=,",
        "-qmp|unix:a=,",
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        autoarena a = ARENA_INIT;
        autosbuf text = SBUF_INIT;
        struct qmp_sockets sockets;
        unsigned long long began = io_now_us();

        sbuf_addf(&text, "qemu|-qmp|unix:");
        while (text.len < QMP_CMDLINE_MAX)
            sbuf_addf(&text, "%s", parts[i]);
        for (size_t k = 0; k < text.len; k++)
            text.text[k] = text.text[k] == '|' ? '\0' : text.text[k];
        qmp_find_sockets(text.text, text.len, &a, &sockets);
        cr_expect_eq(sockets.count, i == 0 ? QMP_SOCKETS_MAX : 0, "%s: %zu sockets", parts[i],
                     sockets.count);
        cr_expect(io_now_us() - began < 10000000, "%s: took %llu us", parts[i],
                  io_now_us() - began);
    }
}

/* --- ids in pid namespaces --- */

static const struct {
    const char *status;
    int want;
} statuses[] = {
    {"Name:\tx\nNSpid:\t12\nNSpgid:\t1\n", 12},
    {"Name:\tx\nNSpid:\t12\t3\nNSpgid:\t1\n", 3},
    {"Name:\tx\nNSpid:\t1234\t56\t789\nNSpgid:\t1\n", 789},
    {"Name:\tx\nNSpid:\t12\t3", 3},
    {"Name:\tx\nNSpid:\t2147483647\n", 2147483647},
    {"Name:\tx\nNSpid:\t2147483648\n", 0},
    {"Name:\tx\nNSpid:\t99999999999999999999999\n", 0},
    {"Name:\tx\nNSpid:\t\n", 0},
    {"Name:\tx\nNSpid:\n", 0},
    {"Name:\tx\nNSpid:\tx\n", 0},
    {"Name:\tNSpid:\t7\nNSpid:\t8\n", 8},
    {"Name:\tx\\nNSpid:\t7\nPid:\t5\n", 0},
    {"Name:\tx\nPid:\t5\n", 0},
    {"", 0},
};

Test(qmp_options, inner_tid)
{
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        int got = (int)qmp_inner_tid(statuses[i].status);

        cr_expect_eq(got, statuses[i].want, "input:    %s\nexpected: %d\ngot:      %d",
                     statuses[i].status, statuses[i].want, got);
    }
}
