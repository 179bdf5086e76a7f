/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/host.h"

#include <criterion/criterion.h>

#define ROOT  "20 1 8:1 / / rw - ext4 /dev/sda rw\n"
#define SYS   "21 20 0:20 / /sys rw - sysfs sysfs rw\n"
#define TMPFS "22 21 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
#define CPU   "23 22 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
#define PIDS  "24 22 0:23 / /sys/fs/cgroup/pids rw shared:9 master:2 - cgroup cgroup rw,pids\n"
#define HOST  ROOT SYS TMPFS CPU PIDS

Test(plain, mountinfo)
{
    static const struct {
        const char *name, *text;
        bool want;
    } rows[] = {
        {"nothing", "", true},
        {"v1", HOST, true},
        {"no newline at the end", ROOT "23 20 0:22 / /c rw - cgroup cgroup rw,cpu", true},
        {"in any order", CPU PIDS TMPFS SYS ROOT, true},
        {"v2", ROOT SYS "30 21 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", true},
        {"two roots, one in the other", "1 1 0:2 / / rw - rootfs rootfs rw\n" HOST, true},
        {"a chroot, whose root is no mount", CPU PIDS, true},
        {"beside it", HOST "40 22 0:40 / /sys/fs/cgroup/cpu2 rw - tmpfs t rw\n", true},
        {"inside of it", HOST "40 23 0:40 / /sys/fs/cgroup/cpu/a rw - tmpfs t rw\n", true},
        {"two of the same hierarchy", HOST "40 20 0:22 / /mnt rw - cgroup cgroup rw,cpu\n", true},
        {"another one is hidden",
         HOST "40 20 0:40 / /a rw - tmpfs t rw\n41 40 0:41 / /a rw - tmpfs t rw\n", true},

        {"another file system on it", HOST "40 23 0:40 / /sys/fs/cgroup/cpu rw - tmpfs t rw\n",
         false},
        {"the same hierarchy on it, of which a part",
         HOST "40 23 0:22 /a /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", false},
        {"beside it at the same place", HOST "40 22 0:40 / /sys/fs/cgroup/cpu rw - tmpfs t rw\n",
         false},
        {"over the directory above it", HOST "40 22 0:40 / /sys/fs/cgroup rw - tmpfs t rw\n",
         false},
        {"over one further up", HOST "40 21 0:40 / /sys/fs rw - tmpfs t rw\n", false},
        {"over the root", HOST "40 20 0:40 / / rw - tmpfs t rw\n", false},
        {"v2 below v1's place", HOST "40 22 0:40 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
         false},
        {"the last of them alone", HOST "40 24 0:40 / /sys/fs/cgroup/pids rw - tmpfs t rw\n",
         false},
        {"mounts that are in each other",
         "1 2 0:2 / /a rw - tmpfs t rw\n2 1 0:3 / /a rw - cgroup c rw,cpu\n"
         "3 3 0:4 / / rw - ext4 /dev/sda rw\n",
         false},

        {"no number", "x 20 0:22 / /c rw - cgroup cgroup rw,cpu\n", false},
        {"no parent", "23 x 0:22 / /c rw - cgroup cgroup rw,cpu\n", false},
        {"no mount point", "23 20 0:22 / c rw - cgroup cgroup rw,cpu\n", false},
        {"no type", "23 20 0:22 / /c rw\n", false},
        {"an empty line", HOST "\n", false},
        {"the line of another one is damaged", HOST "40 22 0:40\n", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(cg_mountinfo_is_plain(rows[i].text), rows[i].want, "%s", rows[i].name);
}

/* Of so many each would be compared with each. */
Test(plain, too_many)
{
    autosbuf text = SBUF_INIT;

    for (int i = 0; i < 128; i++)
        sbuf_addf(&text, "%d 20 0:22 / /c%d rw - cgroup cgroup rw,cpu\n", 100 + i, i);
    cr_expect(cg_mountinfo_is_plain(sbuf_text(&text)));
    sbuf_addf(&text, "%d 20 0:22 / /c rw - cgroup cgroup rw,cpu\n", 99);
    cr_expect_not(cg_mountinfo_is_plain(sbuf_text(&text)));
}
