/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/inside.h"

#include "base/cleanup.h"
#include "hook/vcpu/vcpu.h"

int inside_look(const struct view *v, struct sandbox *s, const struct settings *settings,
                struct arena *a, struct inside *ret, struct err *e)
{
    struct scan_result result;
    int r;

    *ret = (struct inside){.kvm_dirfd = vcpu_kvm_open()};
    ret->scan = (struct scan){
        .sandbox = s,
        .settings = settings,
        .kvm_dirfd = ret->kvm_dirfd,
        .own = {record_process_id(v->record.watcher).pid,
                record_process_id(v->record.placeholder).pid},
    };
    ret->scan.kernel_evidence = scan_needs_evidence(&ret->scan);
    r = scan_pass(&ret->scan, SCAN_LOOK, &result, e);
    ret->known = r == 0;
    if (ret->known)
        placement_look(&ret->scan, v->lock.dirfd, a, &ret->report);
    return r;
}

void inside_free(struct inside *in)
{
    scan_free(&in->scan);
    fd_close(&in->kvm_dirfd);
}
