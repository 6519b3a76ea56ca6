#!/usr/bin/env bash
# Installs what CanvasLab builds with and finds LibTorch. Sourced by quickstart.sh and tests/run.sh; safe to run twice,
# also at the same time.
#   source experiments/setup.sh        sets CANVASLAB_LIBTORCH and CANVASLAB_CACHE
#   fetch_arrow                        then sets CANVASLAB_ARROW (for Parquet files)
set -euo pipefail

CANVASLAB_CACHE="${XDG_CACHE_HOME:-${HOME:?is not set; set it or XDG_CACHE_HOME}/.cache}/canvaslab"
TORCH_VERSION=2.11.0
ARROW_VERSION=26.0.1
say() { printf '[canvaslab] %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# die_with_log LOG MESSAGE: adds what the log says, or that the disk is full: then even the log may be empty.
die_with_log() {
  if grep -qi 'no space left' "$1" || [ ! -s "$1" ]; then die "$2
  the disk is full ($1 says so, or could not be written itself); free some space and run the command again"; fi
  die "$2
$(tail -n 4 "$1" | sed 's/^/  | /')
  the whole output is in $1; is there a network?"
}

# take_lock FD FILE WHAT: waits for another run that holds FILE, and says so. Released when the script ends.
take_lock() {
  eval "exec $1>>\"\$2\"" || die "cannot write $2"
  flock -n "$1" || { say "another run is $3; waiting for it"; flock "$1"; }
}

DEBIAN_PACKAGES=(g++ cmake ninja-build ccache libfmt-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libhdf5-dev
  libssl-dev libonig-dev libutf8proc-dev libcmark-dev zlib1g-dev libgtest-dev libgmock-dev libbenchmark-dev gnuplot-nox fonts-dejavu-core python3 python3-pip python3-venv tmux unzip util-linux
  bubblewrap libseccomp-dev)  # the last two only to run programs that are graded
NEEDED_COMMANDS=(c++ cmake ninja gnuplot python3 unzip flock)
NEEDED_HEADERS=(fmt/format.h CLI/CLI.hpp nlohmann/json.hpp toml++/toml.h hdf5.h openssl/evp.h oniguruma.h utf8proc.h cmark.h zlib.h gtest/gtest.h)

missing_debian_packages() {
  local have package
  have=" $(dpkg-query -W -f='${Package} ${Status}\n' "${DEBIAN_PACKAGES[@]}" 2>/dev/null | sed -n 's/ install ok installed$//p' | tr '\n' ' ')"
  for package in "${DEBIAN_PACKAGES[@]}"; do [[ "$have" == *" $package "* ]] || printf '%s ' "$package"; done
}

# The same things from elsewhere (dnf, conda, built by hand), found by what they bring.
missing_commands_and_headers() {
  local name folder found
  for name in "${NEEDED_COMMANDS[@]}"; do command -v "$name" >/dev/null || printf '%s ' "$name"; done
  for name in "${NEEDED_HEADERS[@]}"; do
    found=0
    for folder in ${CONDA_PREFIX:+"$CONDA_PREFIX/include"} /usr/local/include /usr/include /usr/include/hdf5/serial; do
      [ -e "$folder/$name" ] && found=1
    done
    [ "$found" -eq 1 ] || printf '%s ' "$name"
  done
}

install_packages() {
  local packages="${DEBIAN_PACKAGES[*]}" missing
  if command -v dpkg-query >/dev/null; then
    packages="$(missing_debian_packages)"
    [ -z "$packages" ] && return 0
  fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    missing="$(missing_commands_and_headers)"
    [ -z "$missing" ] && return 0
    die "missing: $missing
  installing them needs root and apt, or conda. One of these does it:
  apt:    sudo apt-get install ${packages% }
  dnf:    sudo dnf install gcc-c++ cmake ninja-build ccache fmt-devel cli11-devel json-devel tomlplusplus-devel hdf5-devel openssl-devel oniguruma-devel utf8proc-devel cmark-devel zlib-devel gtest-devel gmock-devel google-benchmark-devel gnuplot python3-pip tmux unzip util-linux bubblewrap libseccomp-devel
  conda:  conda install -c conda-forge cxx-compiler cmake ninja ccache fmt cli11 nlohmann_json tomlplusplus hdf5 openssl oniguruma libutf8proc cmark zlib gtest benchmark gnuplot python pip tmux unzip util-linux"
  fi
  say "installing: ${packages% }"
  apt-get update -qq >"$CANVASLAB_CACHE/apt.log" 2>&1 || true  # an old package list may still serve
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $packages >>"$CANVASLAB_CACHE/apt.log" 2>&1 ||
    die_with_log "$CANVASLAB_CACHE/apt.log" "apt-get could not install: ${packages% }"
}

use_given_libtorch() {
  local version_file="$CANVASLAB_LIBTORCH/include/torch/headeronly/version.h"
  if [ ! -f "$CANVASLAB_LIBTORCH/lib/libtorch_cpu.so" ] || [ ! -f "$CANVASLAB_LIBTORCH/include/ATen/ATen.h" ]; then
    die "CANVASLAB_LIBTORCH is '$CANVASLAB_LIBTORCH', but lib/libtorch_cpu.so or include/ATen/ATen.h is missing there.
  Give the folder that holds include/ and lib/ of LibTorch $TORCH_VERSION, or unset it to have it fetched."
  fi
  grep -qsF "\"$TORCH_VERSION\"" "$version_file" || say "warning: '$CANVASLAB_LIBTORCH' is not LibTorch $TORCH_VERSION, the one this is tested with"
  CANVASLAB_LIBTORCH="$(cd "$CANVASLAB_LIBTORCH" && pwd)"
}

# A finished folder carries .complete, which lists the libraries with their sizes and is there before the folder gets
# its name: after a crash, a kill or a full disk the folder is either whole or absent.
libtorch_is_whole() {
  local size name
  [ -f "$1/.complete" ] && [ -s "$1/lib/libtorch_cpu.so" ] || return 1
  while read -r size name; do [ "$(stat -c %s "$1/lib/$name" 2>/dev/null)" = "$size" ] || return 1; done <"$1/.complete"
}

# LibTorch is taken from the torch wheel: only the CPU libraries and the headers (500 MB) are kept.
fetch_libtorch() {
  local target="$CANVASLAB_CACHE/libtorch-$TORCH_VERSION" work free_mb need_mb=1200
  libtorch_is_whole "$target" && { CANVASLAB_LIBTORCH="$target"; return 0; }
  rm -rf "$CANVASLAB_CACHE"/libtorch-work.*  # of runs that were killed: we hold the lock
  free_mb=$(($(df -Pk "$CANVASLAB_CACHE" | awk 'NR == 2 {print $4}') / 1024))
  [ "$free_mb" -ge "$need_mb" ] ||
    die "not enough space for LibTorch in $CANVASLAB_CACHE: $free_mb MB are free, $need_mb MB are needed.
  Free some space, or set XDG_CACHE_HOME to a folder on another disk."
  work="$(mktemp -d "$CANVASLAB_CACHE/libtorch-work.XXXXXX")"
  say "fetching LibTorch $TORCH_VERSION (a 530 MB wheel, once)"
  # Without the lock's descriptor: a download left behind by a killed run must not hold up the next one.
  TMPDIR="$work" python3 -m pip download -q --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: -d "$work" \
    "torch==$TORCH_VERSION" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 >"$CANVASLAB_CACHE/pip.log" 2>&1 9>&- ||
    { rm -rf "$work"; die_with_log "$CANVASLAB_CACHE/pip.log" "could not download torch==$TORCH_VERSION with pip (or set CANVASLAB_LIBTORCH to an unpacked LibTorch)"; }
  (cd "$work" && unzip -q -o torch-*.whl 'torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so 'torch/lib/libgomp*' &&
    unzip -q -o -j nvidia_cuda_runtime-*.whl '*libcudart.so*' -d torch/lib &&
    unzip -q -o -j nvidia_cuda_cupti-*.whl '*libcupti.so*' -d torch/lib &&
    cd torch/lib && stat -c '%s %n' -- * >../.complete && sync -f .) >"$CANVASLAB_CACHE/unzip.log" 2>&1 9>&- ||
    { rm -rf "$work"; die_with_log "$CANVASLAB_CACHE/unzip.log" "the downloaded LibTorch wheel cannot be unpacked in $CANVASLAB_CACHE: it is broken, or the disk is full. Run the command again."; }
  rm -rf "$target"
  mv "$work/torch" "$target"
  rm -rf "$work"
  CANVASLAB_LIBTORCH="$target"
}

# Arrow reads Parquet files; it is taken from the pyarrow wheel (166 MB unpacked). Everything else works without it, so a
# failure only warns. Sets CANVASLAB_ARROW, unless it is given.
fetch_arrow() {
  local target="$CANVASLAB_CACHE/arrow-$ARROW_VERSION" work
  [ -z "${CANVASLAB_ARROW:-}" ] || return 0
  take_lock 9 "$CANVASLAB_CACHE/arrow.lock" "fetching Arrow"
  if [ ! -f "$target/.complete" ]; then
    rm -rf "$CANVASLAB_CACHE"/arrow-work.* "$target"  # of runs that were killed: we hold the lock
    work="$(mktemp -d "$CANVASLAB_CACHE/arrow-work.XXXXXX")"
    chmod 755 "$work"
    say "fetching Arrow (pyarrow $ARROW_VERSION, a 55 MB wheel, once)"
    if { TMPDIR="$work" python3 -m pip download -q --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: -d "$work" "pyarrow==$ARROW_VERSION" &&
      (cd "$work" && unzip -q -o pyarrow-*.whl && rm pyarrow-*.whl && : >.complete && sync -f .); } >"$CANVASLAB_CACHE/arrow.log" 2>&1 9>&-; then
      mv "$work" "$target"
    else
      rm -rf "$work"
      say "warning: Arrow could not be fetched, so Parquet files will be refused; $CANVASLAB_CACHE/arrow.log says why. Run this again to try again."
    fi
  fi
  exec 9>&-
  [ ! -f "$target/.complete" ] || CANVASLAB_ARROW="$target/pyarrow"
  export CANVASLAB_ARROW
}

# configure [cmake options]: also after a change of LibTorch, and when build/ was configured otherwise before.
configure() {
  mkdir -p build 2>/dev/null && [ -w build ] || die "cannot write to $PWD/build; the build happens there"
  take_lock 8 build/.lock "working in $PWD/build"
  cmake -G Ninja -S . -B build -DCANVASLAB_LIBTORCH="$CANVASLAB_LIBTORCH" -DCANVASLAB_ARROW="${CANVASLAB_ARROW:-}" "$@" >build/cmake.log 2>&1 ||
    { tail -n 30 build/cmake.log >&2; die "cmake failed; its whole output is build/cmake.log"; }
}

# build [cmake --build options]
build() {
  cmake --build build "$@" >build/build.log 2>&1 ||
    { grep -m 3 -A 12 -E '(error|FAILED):|No space left' build/build.log >&2 || tail -n 30 build/build.log >&2; die "the build failed; its whole output is build/build.log"; }
}

if ! { mkdir -p "$CANVASLAB_CACHE" && : >"$CANVASLAB_CACHE/.writable.$$"; } 2>/dev/null; then
  die "cannot write to the cache folder $CANVASLAB_CACHE (no permission, read-only or full disk); set XDG_CACHE_HOME to a folder you can write to."
fi
rm -f "$CANVASLAB_CACHE/.writable.$$"
[ -z "${CANVASLAB_LIBTORCH:-}" ] || use_given_libtorch
command -v flock >/dev/null || install_packages  # names it; flock comes with every Debian
take_lock 9 "$CANVASLAB_CACHE/libtorch.lock" "installing packages or fetching LibTorch"
install_packages
[ -n "${CANVASLAB_LIBTORCH:-}" ] || fetch_libtorch
exec 9>&-
export CANVASLAB_LIBTORCH CANVASLAB_CACHE
