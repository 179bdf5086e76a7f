#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `make dist`, whose bytes follow from the tree alone, and what `make deb` makes of it: hardened as dpkg-buildflags
# says, with nothing to complain of for lintian, and with these files. It stays beside OSC_BIN, for package-life.sh.

# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

BUILD=$(dirname "$OSC_BIN")
NAME=oci-sandbox-cgroup

# in_directory DIR COMMAND...
in_directory() {
	(cd "$1" && "${@:2}")
}

# quietly COMMAND... - its output only if it fails
quietly() {
	"$@" >"$WORK/quietly.log" 2>&1 || {
		tail -n 30 "$WORK/quietly.log"
		return 1
	}
}

# --- dist --------------------------------------------------------------------

# another_tree - the same from what was in the tarball, by somebody else: another directory, umask, time zone and age
another_tree() {
	mkdir "$WORK/tree"
	tar -C "$WORK/tree" --strip-components=1 -xmf "$WORK/first.tar.xz"
	mkdir "$WORK/tree/build"
	check "the tarball: configure, without git" quietly in_directory "$WORK/tree/build" ../configure
	(umask 077 && TZ=Asia/Tokyo check "the tarball: make dist" quietly make -C "$WORK/tree/build" dist && exit $((FAILED > 0))) ||
		fail "make dist in what was unpacked"
}

if [[ ! -f $BUILD/Makefile ]]; then
	skip "make dist and make deb" "$BUILD is no build directory"
	finish
fi
source=$(sed -n 's/^abs_top_srcdir = //p' "$BUILD/Makefile")
version=$(sed -n 's/^AC_INIT(.*\[\([0-9.]*\)\])$/\1/p' "$source/configure.ac")
dist=$BUILD/$NAME-$version.tar.xz
check "make dist" quietly make -C "$BUILD" dist
cp "$dist" "$WORK/first.tar.xz"
another_tree
check "the tarball is the same, whoever makes it" cmp "$WORK/first.tar.xz" "$WORK/tree/build/${dist##*/}"
check_eq "its files have the date of the version" "$(date -u -d "$(sed -n 's/^ -- .*>  //p' "$source/hook/data/debian/changelog")" +%s)" \
	"$(tar -C "$WORK" -xf "$WORK/first.tar.xz" && stat -c %Y "$WORK/$NAME-$version/configure")"
check "make dist at a time" quietly env SOURCE_DATE_EPOCH=1000000000 make -C "$WORK/tree/build" dist
check_eq "its files have that time" "0/0 2001-09-09 01:46" \
	"$(TZ=UTC tar -tvf "$WORK/tree/build/${dist##*/}" | awk '{ print $2, $4, $5 }' | sort -u)"

# --- the package -------------------------------------------------------------

# refused NAME DIRECTORY - by make-deb, of a tree that is called so
refused() {
	tar -C "$2" --transform "s,^,$1/," -cJf "$WORK/$1.tar.xz" hook/data/debian
	capture "$source/hook/data/make-deb" "$WORK/$1.tar.xz" "$WORK/refused"
	check_exit "another version than the changelog's: refused" 1
	check_match "another version than the changelog's: what it says" "^make deb: $1 has a package of $version: " "$ERR"
}

# As for who has none of them: what is a shell's own is there.
capture env PATH=/nonexistent /bin/sh "$source/hook/data/make-deb" x y
check_exit "without tools: refused" 1
check_eq "without tools: says which" "make deb: these Debian packages are missing: dpkg-dev debhelper lintian" "$ERR"

for tool in dpkg-buildpackage dh lintian; do
	if [[ -z $(type -P $tool) ]]; then
		skip "make deb" "$tool is not installed"
		finish
	fi
done
refused "$NAME-99" "$source"
if ! make -C "$BUILD" deb >"$WORK/deb.log" 2>&1; then
	fail "make deb" "$(tail -n 40 "$WORK/deb.log")"
	finish
fi
ok "make deb"
deb=$(find "$BUILD/deb" -name "${NAME}_${version}_*.deb")
check_match "make deb: says where it is" "deb/${deb##*/}" "$(tail -n 4 "$WORK/deb.log")"
check_eq "lintian says nothing" "" "$(lintian --allow-root --pedantic --display-info "$BUILD"/deb/*.changes 2>&1)"

# sed: the units are in /usr/lib where debhelper looks there.
check_eq "what is in it" "etc/cdi/oci-sandbox-cgroup.io-hook.json
lib/systemd/system/oci-sandbox-cgroup-metrics.service
lib/systemd/system/oci-sandbox-cgroup-metrics.timer
usr/lib/tmpfiles.d/oci-sandbox-cgroup.conf
usr/libexec/oci-sandbox-cgroup
usr/libexec/oci-sandbox-cgroup-systemd
usr/sbin/oci-sandbox-cgroup
usr/share/bash-completion/completions/oci-sandbox-cgroup.bash
usr/share/containers/oci/hooks.d/90-oci-sandbox-cgroup.json
usr/share/doc/oci-sandbox-cgroup/NEWS.gz
usr/share/doc/oci-sandbox-cgroup/README.md
usr/share/doc/oci-sandbox-cgroup/SECURITY.md
usr/share/doc/oci-sandbox-cgroup/changelog.gz
usr/share/doc/oci-sandbox-cgroup/comparison.md
usr/share/doc/oci-sandbox-cgroup/copyright
usr/share/doc/oci-sandbox-cgroup/examples/config.json
usr/share/doc/oci-sandbox-cgroup/kubernetes.md
usr/share/doc/oci-sandbox-cgroup/operations.md
usr/share/doc/oci-sandbox-cgroup/support.md
usr/share/lintian/overrides/oci-sandbox-cgroup
usr/share/man/man5/oci-sandbox-cgroup.json.5.gz
usr/share/man/man7/oci-sandbox-cgroup-engines.7.gz
usr/share/man/man7/oci-sandbox-cgroup-layouts.7.gz
usr/share/man/man8/oci-sandbox-cgroup-systemd.8.gz
usr/share/man/man8/oci-sandbox-cgroup.8.gz
usr/share/oci-sandbox-cgroup/kubernetes/Containerfile
usr/share/oci-sandbox-cgroup/kubernetes/containerd.toml
usr/share/oci-sandbox-cgroup/kubernetes/install.yaml
usr/share/oci-sandbox-cgroup/kubernetes/node
usr/share/oci-sandbox-cgroup/kubernetes/runtimeclass.yaml
usr/share/oci-sandbox-cgroup/kubernetes/uninstall.yaml
usr/share/oci-sandbox-cgroup/oci-sandbox-cgroup.rules.yml
usr/share/zsh/vendor-completions/_oci-sandbox-cgroup" \
	"$(dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n '/[^/]$/s,^\./,,p' | sed 's,^usr/lib/systemd/system/,lib/systemd/system/,' | sort)"
dpkg-deb --extract "$deb" "$WORK/root"
dpkg-deb --control "$deb" "$WORK/control"
check_eq "its configuration files" "/etc/cdi/oci-sandbox-cgroup.io-hook.json" "$(<"$WORK/control/conffiles")"
check_match "it depends on libc alone" '^libc6 \(>= [0-9.]+\)$' "$(dpkg-deb -f "$deb" Depends)"
check_match "it recommends what it opens" '^libsystemd0 ' "$(dpkg-deb -f "$deb" Recommends)"
check_match "it says what is linked into it" '^glibc \(= .*\), yajl \(= .*\)$' "$(dpkg-deb -f "$deb" Built-Using)"

# --- how it is built ---------------------------------------------------------

flags=$(dpkg-buildflags --get CPPFLAGS | xargs -n1 | grep FORTIFY)
lines=$(grep -E '^gcc .* -c ' "$WORK/deb.log")
check_match "there are commands to look at" 'watcher\.c' "$lines"
check_eq "each has the builder's _FORTIFY_SOURCE" "" "$(grep -vF -- " $flags " <<<"$lines" || :)"
check_eq "and no other" "" "$(grep -E 'FORTIFY_SOURCE.*FORTIFY_SOURCE' <<<"$lines" || :)"
check_eq "each has the builder's flags" "" "$(grep -vE -- ' -g -O2 .* -Wformat -Werror=format-security ' <<<"$lines" || :)"
check_eq "there is no warning" "" "$(grep -E '^[^ ]+\.[ch]:.*warning:' "$WORK/deb.log" || :)"
for program in "$WORK/root/usr/libexec/$NAME" "$WORK/root/usr/libexec/$NAME-systemd"; do
	check_match "${program##*/}: at random addresses, bound at once" 'FLAGS_1.*NOW.*PIE' "$(readelf -dW "$program")"
	check_match "${program##*/}: read-only relocations" GNU_RELRO "$(readelf -lW "$program")"
	check_match "${program##*/}: no stack to execute" 'GNU_STACK.* RW  ' "$(readelf -lW "$program" | grep GNU_STACK)"
done
check_match "stacks are protected" '__stack_chk_fail' "$(readelf --dyn-syms -W "$program")"
check_match "functions of libc are checked" '__[a-z]+_chk' "$(readelf --dyn-syms -W "$program" | grep -v stack_chk)"
check_eq "the first needs no library" "" "$(readelf -dW "$WORK/root/usr/libexec/$NAME" | grep NEEDED || :)"

# --- what is in it works -----------------------------------------------------

check_eq "the program runs" "$NAME $version" "$("$WORK/root/usr/sbin/$NAME" --version)"
example=$WORK/root/usr/share/doc/$NAME/examples/config.json
check_eq "the example is that of the manual page" "$(sed -n '/^[.]Sh EXAMPLES/,/^[.]Ed/{/^[.{ }]/!d;/^[.]\|:$/d;p}' "$source/hook/man/$NAME.json.5")" "$(<"$example")"
fake_container example
capture "$WORK/root/usr/sbin/$NAME" --state-dir "$STATE" --config "$example" --json plan <"$WORK/example/created"
check_exit "the example: a plan" 0
check_eq "the example: what it asks for, and nothing else" "[]" "$(jq -c .warnings <<<"$OUT")"
drop_fake example "$PID"

finish
