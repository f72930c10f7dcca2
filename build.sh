#!/usr/bin/env bash
# Builds, runs and tests vft.
#   ./build.sh         make ./vft: static, version and commit stamped, reproducible
#   ./build.sh run     build, start a server and a client on loopback, say what to type
#   ./build.sh test    everything that must hold, in at most 10 minutes on two cores;
#                      asks before it installs the programs that the tests drive,
#                      with --install it does not ask
#   ./build.sh bench   the benchmarks, each figure beside its limit
set -euo pipefail
cd "$(dirname "$0")"

export CGO_ENABLED=0
packages=(gcc libc6-dev nmap rsyslog iproute2 netcat-openbsd openssh-server openssh-client tcpdump hping3 procps openssl tcpreplay tshark softflowd pmacct rabbitmq-server)
programs=(gcc nmap rsyslogd ip nc sshd ssh-keyscan tcpdump hping3 pgrep openssl tcpreplay tshark capinfos softflowd pmacctd rabbitmq-server)

say() { printf '\n== %s\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

need_go() {
  command -v go >/dev/null || fail 'Go is not installed; vft needs Go 1.26 or later (https://go.dev/dl)'
}

build() {
  need_go
  local version commit
  version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
  commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
  go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version -X main.commit=$commit" -o "${1:-vft}" .
}

# run starts both ends with throw-away data, so that nothing is left behind.
run() {
  build
  local dir port
  dir=$(mktemp -d)
  # shellcheck disable=SC2064 # the directory is known now
  trap "kill \$(jobs -p) 2>/dev/null; wait; rm -rf '$dir'" EXIT
  ./vft --data-dir "$dir" --log-level warn server &
  ./vft --data-dir "$dir" --log-format json client 2>"$dir/client.log" &
  for _ in $(seq 100); do
    # Only what is open after the server has dealt its ports stays open.
    port=$(sed -n '/"message":"connected"/,$ s/.*"open":\[\([0-9,]*\)\].*/\1/p' "$dir/client.log" | tail -n 1 | tr ',' '\n' | sort -n | tail -n 1)
    [ -n "$port" ] && break
    sleep 0.1
  done
  [ -n "$port" ] || { cat "$dir/client.log" >&2; fail 'the client opened no trap'; }
  cat >&2 <<EOF

A server and a client run on this machine. To see the first alert, type in
another terminal:

    nc 127.0.0.1 $port </dev/null

Each alert is one line of JSON below. Ctrl-C ends both.

EOF
  wait
}

# install_missing installs the programs that the tests drive, when it may, or
# names them.
install_missing() {
  local missing=() answer=''
  for p in "${programs[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$p" >/dev/null || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if [ "$1" = --install ]; then
      answer=y
    elif [ -t 0 ]; then
      say "the tests drive programs that are missing: ${missing[*]}"
      read -r -p "install these Debian packages? ${packages[*]} [y/N] " answer
    fi
  fi
  if [[ $answer == [yY]* ]]; then
    say "installing for the tests: ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    return
  fi
  [ "${CI:-}" = true ] && fail "these programs are missing: ${missing[*]} (Debian packages: ${packages[*]})"
  say "the tests that need these programs are skipped: ${missing[*]} (as root, ./build.sh test --install installs them; Debian packages: ${packages[*]})"
}

# vulnerabilities looks for known ones in what vft is built from, where the
# database can be reached.
vulnerabilities() {
  local db=${GOVULNDB:-https://vuln.go.dev}
  if ! command -v curl >/dev/null || ! curl -fsS --max-time 10 -o /dev/null "$db/index/db.json" 2>/dev/null; then
    echo "left out: $db cannot be reached"
    return
  fi
  go tool govulncheck ./...
}

# fuzz runs every fuzz target some thousand times on top of its committed corpus.
# A time in place of a number fails now and then with "context deadline
# exceeded", when it ends in the middle of an input.
fuzz() {
  local pkg target
  while read -r pkg; do
    for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
      echo "fuzz $pkg $target"
      go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-5000x}" -fuzzminimizetime 1x "$pkg" >"$1" 2>&1 </dev/null ||
        { cat "$1"; fail "the fuzz target $target of $pkg found something"; }
    done
  done < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
}

test_all() {
  case "$1" in '' | --install) ;; *) fail "'$1' is not understood after test; it takes --install" ;; esac
  need_go
  install_missing "$1"
  export PATH="$PATH:/usr/sbin:/sbin"
  local bad log
  log=$(mktemp)
  say 'gofmt'
  bad=$(gofmt -l $(git ls-files '*.go'))
  [ -z "$bad" ] || fail "gofmt would change: $bad"
  say 'go vet'
  go vet ./...
  say 'staticcheck'
  go tool staticcheck ./...
  say 'known vulnerabilities'
  vulnerabilities
  say 'tests'
  CGO_ENABLED=1 go test -race -skip 'Memory|Alloc' -timeout 8m $(go list ./... | grep -v -e '/e2e$' -e '^vft$')
  say 'tests with real programs'
  go test -count=1 -timeout 8m . ./e2e
  say 'memory, which the race detector would distort'
  go test -count=1 -run 'Memory|Alloc' ./...
  say 'fuzz targets'
  fuzz "$log"
  say 'builds for other systems'
  for target in linux/arm64 windows/amd64 darwin/arm64 freebsd/amd64; do
    GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -o /dev/null .
    GOOS=${target%/*} GOARCH=${target#*/} go vet ./...
    echo "$target"
  done
  rm -f "$log"
  say 'all is well'
}

bench() {
  need_go
  go test -run '^$' -bench . -benchtime "${BENCHTIME:-1s}" ./...
}

case "${1:-build}" in
  build) build ;;
  run) run ;;
  test) test_all "${2:-}" ;;
  bench) bench ;;
  *) fail "'$1' is not understood; use build, run, test or bench" ;;
esac
