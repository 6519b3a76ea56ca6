#!/usr/bin/env bash
# Installs what CanvasLab builds with and finds LibTorch. Sourced by quickstart.sh and tests/run.sh; safe to run twice.
#   source experiments/setup.sh        sets CANVASLAB_LIBTORCH and CANVASLAB_CACHE
set -euo pipefail

CANVASLAB_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/canvaslab"
TORCH_VERSION=2.11.0
say() { printf '[canvaslab] %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

DEBIAN_PACKAGES=(g++ cmake ninja-build ccache libfmt-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libhdf5-dev
  libssl-dev libonig-dev libutf8proc-dev libgtest-dev libgmock-dev libbenchmark-dev gnuplot-nox fonts-dejavu-core python3 python3-pip python3-venv unzip util-linux)

install_packages() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null; then
    command -v cmake >/dev/null && command -v g++ >/dev/null && return 0
    die "this is no Debian system and cmake or g++ is missing.
  dnf:   dnf install gcc-c++ cmake ninja-build ccache fmt-devel cli11-devel json-devel tomlplusplus-devel hdf5-devel openssl-devel oniguruma-devel utf8proc-devel gtest-devel gmock-devel google-benchmark-devel gnuplot python3-pip unzip
  conda: conda install -c conda-forge cxx-compiler cmake ninja ccache fmt cli11 nlohmann_json tomlplusplus hdf5 openssl oniguruma libutf8proc gtest benchmark gnuplot pip unzip"
  fi
  for package in "${DEBIAN_PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    die "these packages are missing and installing them needs root: ${missing[*]}
  Debian: sudo apt-get install ${missing[*]}
  conda:  conda install -c conda-forge cxx-compiler cmake ninja ccache fmt cli11 nlohmann_json tomlplusplus hdf5 openssl oniguruma libutf8proc gtest benchmark gnuplot pip unzip"
  fi
  say "installing: ${missing[*]}"
  apt-get update -qq >/dev/null 2>&1 || true  # an old package list may still serve
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$CANVASLAB_CACHE/apt.log" 2>&1 ||
    die "apt-get could not install: ${missing[*]}
  its output is in $CANVASLAB_CACHE/apt.log; is there a network?"
}

# LibTorch is taken from the torch wheel: only the CPU libraries and the headers (500 MB) are kept. A finished folder
# carries a .complete mark, written last, so that a broken download is never taken for a good one.
fetch_libtorch() {
  local target="$CANVASLAB_CACHE/libtorch-$TORCH_VERSION" work
  if [ -n "${CANVASLAB_LIBTORCH:-}" ]; then
    [ -f "$CANVASLAB_LIBTORCH/lib/libtorch_cpu.so" ] ||
      die "CANVASLAB_LIBTORCH is '$CANVASLAB_LIBTORCH', but there is no lib/libtorch_cpu.so in it. Give the folder that holds include/ and lib/, or unset it."
    export CANVASLAB_LIBTORCH
    return 0
  fi
  exec 9>"$CANVASLAB_CACHE/libtorch.lock"
  if ! flock -n 9; then
    say "another run is fetching LibTorch; waiting for it"
    flock 9
  fi
  if [ ! -f "$target/.complete" ]; then
    work="$(mktemp -d "$CANVASLAB_CACHE/libtorch-work.XXXXXX")"
    say "fetching LibTorch $TORCH_VERSION (a 530 MB wheel, once)"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" "torch==$TORCH_VERSION" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 >"$CANVASLAB_CACHE/pip.log" 2>&1 ||
      { rm -rf "$work"; die "could not download torch==$TORCH_VERSION with pip (see $CANVASLAB_CACHE/pip.log). Is there a network? Or set CANVASLAB_LIBTORCH to an unpacked LibTorch."; }
    (cd "$work" && unzip -q -o torch-*.whl 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' 'torch/lib/libgomp*' &&
      unzip -q -o -j nvidia_cuda_runtime-*.whl '*libcudart.so*' -d torch/lib &&
      unzip -q -o -j nvidia_cuda_cupti-*.whl '*libcupti.so*' -d torch/lib) ||
      { rm -rf "$work"; die "the downloaded LibTorch wheel is broken or the disk is full (in $CANVASLAB_CACHE); run the command again."; }
    rm -rf "$target"
    mv "$work/torch" "$target" && rm -rf "$work"
    touch "$target/.complete"
  fi
  exec 9>&-
  export CANVASLAB_LIBTORCH="$target"
}

mkdir -p "$CANVASLAB_CACHE" 2>/dev/null || die "cannot create the cache folder $CANVASLAB_CACHE; set XDG_CACHE_HOME to a folder you can write to."
install_packages
fetch_libtorch
