/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_DEVICE_KIT_H
#define TESTS_UNIT_KIT_DEVICE_KIT_H

/* What the tests of device rules share: lists as text, random numbers, and probing the real kernel.
 */

#include "cgroup/devices/bpf.h"
#include "cgroup/devices/devices.h"
#include "cgroup/devices/exceptions.h"
#include "tests/unit/kit/device_model.h"

/* "+c 1:3 rwm, -a *:* w": allow and deny; and back. */
struct cg_dev_rules dev_make_rules(struct arena *a, const char *text);
char *dev_rules_text(struct arena *a, const struct cg_dev_rules *rules);

/* The table of a list that has one. */
struct cg_dev_table dev_compile(struct arena *a, const struct cg_dev_rules *rules);

/* "c 1:3 rwm, c *:* -": a class without any bit has "-". */
char *dev_entries_text(struct arena *a, const struct cg_dev_entry *items, size_t count);

/* xorshift; each test sets its seed: the same lists in every run. */
extern uint32_t dev_random_state;
uint32_t dev_random_below(uint32_t limit);

/* A small world of devices: 0 to 3 are in rules, 4 stands for all other numbers. */
#define DEV_NUMBERS 5

struct cg_dev_rules dev_random_rules(struct arena *a, uint32_t most, bool only_allow);

struct dev_request {
    char type;
    uint32_t major, minor;
    uint8_t access;
};

/* All requests of the small world. Returns false behind the last. */
bool dev_next_request(unsigned *cursor, struct dev_request *ret);

/* What a list allows of a device. */
uint8_t dev_bits_of(const struct cg_dev_rules *rules, char type, uint32_t major, uint32_t minor);

/* Lists of @count rules that cannot be merged, of several shapes. */
enum dev_shape { DEV_MAJORS, DEV_MINORS, DEV_GRID, DEV_MIXED, DEV_OVER_LINES, DEV_SHAPES };
extern const char *const dev_shape_names[];
struct cg_dev_rules dev_large_list(struct arena *a, enum dev_shape shape, uint32_t count);

/* Instructions of programs that are not made from a list. */
#define MOV(reg, value)                                                                            \
    {                                                                                              \
        .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = reg, .imm = value                            \
    }
#define EXIT                                                                                       \
    {                                                                                              \
        .code = BPF_JMP | BPF_EXIT                                                                 \
    }
#define JUMP(distance)                                                                             \
    {                                                                                              \
        .code = BPF_JMP | BPF_JA, .off = distance                                                  \
    }

/* The program of a list, which the strict interpreter has checked. */
struct cg_bpf_program dev_program(struct arena *a, const struct cg_dev_rules *rules);
struct cg_bpf_program dev_program_of(struct arena *a, const char *text);

/* One verdict of a program, interpreted. @most  the most instructions that any took; may be NULL.
 */
bool dev_program_allows(const struct cg_bpf_program *p, char type, uint32_t major, uint32_t minor,
                        uint8_t access, unsigned long *most);

/* The cgroup of the running test, and the directory of its device nodes; "" if none. */
extern char dev_made[];
extern char dev_nodes[];

/* A new cgroup in the cgroup2 mount or the v1 devices hierarchy, as O_PATH fd, or the test is
 * skipped. */
int dev_make_cgroup(bool v2);
void dev_make_nodes(void);
void dev_remove_made(void); /* both; a test's .fini */

/* bpf(2); as a system call, so a fake of syscall(2) sees it. */
long dev_bpf(int command, union bpf_attr *attr);

/* The device programs that are attached to a cgroup itself, and how many of them have our name. */
#define DEV_ATTACHED_MAX 64
size_t dev_attached(int cgroup, uint32_t ids[static DEV_ATTACHED_MAX], size_t *ret_ours);

/* Memory that a forked child shares with the test. */
void *dev_share(size_t size);

/* For a child of the test, which must not outlive it. */
void dev_enter(int cgroup);

/* In such a child: open or make the i-th probed device (0 is c 1:3). errno, 0: success. */
int dev_probe_one(size_t i, uint8_t access);

/* Open and make devices from inside the cgroup and compare with the verdicts of the list. */
void dev_check_kernel_verdicts(int cgroup, const char *text);

#endif
