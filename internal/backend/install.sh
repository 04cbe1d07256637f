#!/usr/bin/env bash
# Brings the real servers that the tests talk to, and the tools of `make check` and `make proto`.
#
#   install.sh          everything
#   install.sh lint     golangci-lint
#   install.sh protoc   protoc and its Go plugins
#
# What Debian has comes from Debian. The rest is built from Go modules or copied from Maven artifacts into
# a cache outside the tree, where internal/backend looks for it. A second run finds all of it and ends at once.
set -uo pipefail

CACHE=${GO_PLATFORM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/go-platform}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)

GOLANGCI_LINT=v2.15.0
CONSUL=v1.13.9

FAILED=()

say() { printf '%s\n' "$*" >&2; }

# quietly NAME COMMAND...: the output of a build is of interest only when it fails.
quietly() {
	local log="$CACHE/log/$1"
	shift
	"$@" >"$log" 2>&1 && return 0
	tail -n 20 "$log" >&2
	return 1
}

# A registry that is busy for a moment should not cost a whole CI run.
retry() {
	local try
	for try in 1 2 3; do
		"$@" && return 0
		say "try $try of 3 failed: $*"
	done
	return 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		say "root is needed for: $*"
		return 1
	fi
}

# step NAME COMMAND...: one failed backend is reported at the end and does not stop the others.
step() {
	local name=$1
	shift
	"$@" || FAILED+=("$name")
}

# once STAMP RESULT COMMAND...: the stamp names the versions, so that a new version is a new build, and so is a program
# that a checkout of other versions has built since.
once() {
	local stamp="$CACHE/stamps/$1" result="$CACHE/$2"
	shift 2
	[ -e "$stamp" ] && [ -e "$result" ] && { [ -d "$result" ] || [ ! "$result" -nt "$stamp" ]; } && return 0
	"$@" && touch "$stamp"
}

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# Daemons that a package starts would take the default ports and outlive the tests; policy-rc.d is Debian's
# way to say no. One that is there already belongs to somebody else and stays.
apt_install() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'as_root rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy"
	fi
	apt=(quietly apt as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300)
	retry "${apt[@]}" update && retry "${apt[@]}" install --no-install-recommends "$@"
)

debian() {
	local missing=() package
	for package in "$@"; do
		installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return 0
	say "installing ${missing[*]}"
	apt_install "${missing[@]}"
}

# go_tool NAME MODULE@VERSION PACKAGE: builds in a module of its own, because `go install` refuses modules
# with replace directives (Consul) and because none of this may touch the project's go.mod.
go_tool() {
	local name=$1 module=$2 package=$3 dir rc
	say "building $name from $module (minutes)"
	dir=$(mktemp -d) || return 1
	(
		cd "$dir" && quietly "$name" go mod init tool &&
			retry quietly "$name" go get "$package@${module##*@}" &&
			quietly "$name" nice go build -trimpath -ldflags '-s -w' -o "$CACHE/bin/$name" "$package"
	)
	rc=$?
	rm -rf "$dir"
	return $rc
}

lint() {
	once "golangci-lint-$GOLANGCI_LINT-$(go env GOVERSION)" bin/golangci-lint \
		go_tool golangci-lint "github.com/golangci/golangci-lint/v2@$GOLANGCI_LINT" \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint
}

consul() {
	once "consul-$CONSUL" bin/consul go_tool consul "github.com/hashicorp/consul@$CONSUL" github.com/hashicorp/consul
}

# The plugins write what the project's own go.mod can compile, hence its versions; the copy is there because
# the build may need sums that the project does not.
build_protoc_plugins() {
	local dir rc
	say "building protoc-gen-go and protoc-gen-micro"
	dir=$(mktemp -d) || return 1
	cp "$ROOT/go.mod" "$ROOT/go.sum" "$dir" &&
		(cd "$dir" && retry quietly protoc-plugins env GOWORK=off go build -mod=mod -trimpath -o "$CACHE/bin/" \
			go-micro.dev/v6/cmd/protoc-gen-micro google.golang.org/protobuf/cmd/protoc-gen-go)
	rc=$?
	rm -rf "$dir"
	return $rc
}

protoc_plugins() {
	local versions
	versions=$(awk '$1 == "require" { $1 = ""; $0 = $0 }
		$1 == "go-micro.dev/v6" || $1 == "google.golang.org/protobuf" { printf "-%s", $2 }' "$ROOT/go.mod")
	once "protoc-plugins$versions" bin/protoc-gen-micro build_protoc_plugins
}

protoc() {
	step protoc debian protobuf-compiler
	step protoc-plugins protoc_plugins
}

# Any JDK from 17 on will do; Debian's is taken only where there is none.
java_runtime() {
	local missing=()
	command -v java >/dev/null || missing+=(default-jre-headless)
	command -v mvn >/dev/null || missing+=(maven)
	[ ${#missing[@]} = 0 ] || debian "${missing[@]}"
}

# maven NAME: fetches what maven/NAME/pom.xml asks for into $CACHE/NAME.
fetch_maven() {
	local name=$1 fresh
	say "fetching $name"
	fresh=$(mktemp -d "$CACHE/$name.XXXXXX") || return 1
	if retry quietly "$name" mvn -B -q -Dstyle.color=never -f "$HERE/maven/$name/pom.xml" -Dinto="$fresh" \
		-Dmaven.repo.local="$CACHE/m2" process-resources; then
		rm -rf "${CACHE:?}/$name" && mv "$fresh" "$CACHE/$name"
	else
		rm -rf "$fresh"
		return 1
	fi
}

maven() {
	local sum
	sum=$(sha256sum <"$HERE/maven/$1/pom.xml" | cut -c1-16)
	once "$1-$sum" "$1" fetch_maven "$1"
}

row() { printf '  %-14s %s\n' "$1" "${2:-missing}"; }

package_row() { row "$1" "$(dpkg-query -W -f '${Version}' "$2" 2>/dev/null)"; }

jar_row() {
	local jar
	jar=$(find "$CACHE/$1" -name "$2" 2>/dev/null | head -n1)
	row "$1" "$(basename "${jar%.jar}")"
}

table() {
	package_row redis redis-server
	package_row memcached memcached
	package_row etcd etcd-server
	package_row mariadb mariadb-server
	package_row postgresql postgresql
	package_row nats nats-server
	package_row chromium chromium
	package_row protoc protobuf-compiler
	[ -x "$CACHE/bin/consul" ] && row consul "$CONSUL" || row consul
	[ -x "$CACHE/bin/golangci-lint" ] && row golangci-lint "$GOLANGCI_LINT" || row golangci-lint
	jar_row zipkin 'zipkin-server-*.jar'
	jar_row kafka 'kafka_2.13-*.jar'
	jar_row cassandra 'cassandra-all-*.jar'
	jar_row opensearch 'opensearch-2*.jar'
	jar_row elasticsearch 'elasticsearch-7*.jar'
}

everything() {
	local name
	step debian debian redis-server memcached etcd-server mariadb-server postgresql nats-server chromium
	protoc
	step golangci-lint lint
	step consul consul
	step java java_runtime
	for name in zipkin kafka cassandra opensearch elasticsearch; do
		step "$name" maven "$name"
	done
	table
}

mkdir -p "$CACHE/bin" "$CACHE/stamps" "$CACHE/log" || exit 1
# Two checkouts on one machine share the cache.
exec 9>"$CACHE/lock"
flock 9

case ${1:-} in
'') everything ;;
lint) step golangci-lint lint ;;
protoc) protoc ;;
*)
	say "usage: install.sh [lint|protoc]"
	exit 2
	;;
esac

if [ ${#FAILED[@]} != 0 ]; then
	say "could not be installed: ${FAILED[*]}"
	exit 1
fi
