#!/usr/bin/env bash
# experiments/setup.sh against everything that can go wrong on someone's machine, with fakes for pip, apt-get, dpkg-query,
# df and id on PATH: nothing is downloaded, nothing is installed.
#   tests/house/setup_test.sh            prints what fails; exit code 1 then
set -uo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
failures=0

# --- fakes. Their behaviour is set by files in $work/say: what exists there is what goes wrong.
mkdir -p "$work/bin" "$work/say" "$work/wheels"
fake() { cat >"$work/bin/$1" && chmod +x "$work/bin/$1"; }
fake dpkg-query <<'F'
#!/usr/bin/env bash
for name in "${@:3}"; do grep -qx "$name" "$FAKE/say/not_installed" 2>/dev/null || echo "$name install ok installed"; done
F
fake apt-get <<'F'
#!/usr/bin/env bash
echo "$*" >>"$FAKE/apt_calls"
[ "$1" = update ] && exit 0
[ -e "$FAKE/say/apt_fails" ] && { cat "$FAKE/say/apt_fails"; exit 100; }
rm -f "$FAKE/say/not_installed"
F
fake id <<'F'
#!/usr/bin/env bash
cat "$FAKE/say/uid" 2>/dev/null || echo 0
F
fake df <<'F'
#!/usr/bin/env bash
echo head; echo "disk 1 1 $(cat "$FAKE/say/free_kb" 2>/dev/null || echo 99999999) 1% /"
F
fake python3 <<'F'
#!/usr/bin/env bash
[ "$3" = download ] || exit 64
echo call >>"$FAKE/pip_calls"
while [ "$1" != -d ]; do shift; done
[ -e "$FAKE/say/pip_hangs" ] && { : >"$2/torch-half.whl"; : >"$FAKE/hanging"; exec sleep 600; }
[ -e "$FAKE/say/pip_fails" ] && { cat "$FAKE/say/pip_fails"; exit 1; }
cp "$FAKE"/wheels/* "$2"
F
# Wheels with the files that are taken out of the true ones.
(cd "$work" && mkdir -p torch/lib torch/include/ATen nvidia/lib && : >torch/include/ATen/ATen.h && echo cpu >torch/lib/libtorch_cpu.so && echo c10 >torch/lib/libc10.so &&
  echo omp >torch/lib/libgomp.so.1 && echo rt >nvidia/lib/libcudart.so.13 && echo cupti >nvidia/lib/libcupti.so.13 &&
  /usr/bin/python3 - <<'P'
import zipfile, glob, os
for wheel, folder in (("torch-2.11.0-x.whl", "torch"), ("nvidia_cuda_runtime-x.whl", "nvidia"), ("nvidia_cuda_cupti-x.whl", "nvidia")):
    with zipfile.ZipFile("wheels/" + wheel, "w") as z:
        for path in glob.glob(folder + "/**", recursive=True):
            if os.path.isfile(path): z.write(path)
P
) || { echo "cannot make the fake wheels"; exit 1; }

# setup [VARIABLE=value...]: sources setup.sh in a fresh shell; sets $code, $text and $found (the LibTorch it chose).
setup() {
  text="$(env -u CANVASLAB_LIBTORCH -u CONDA_PREFIX HOME="$work/home" XDG_CACHE_HOME="$work/cache" FAKE="$work" PATH="$work/bin:/usr/bin:/bin" "$@" \
    bash -c "source '$root/experiments/setup.sh' && echo \"found=\$CANVASLAB_LIBTORCH\"" 2>&1)"
  code=$?
  found="$(sed -n 's/^found=//p' <<<"$text")"
}
fresh() { rm -rf "$work/cache" "$work/say" "$work"/*_calls "$work/hanging"; mkdir -p "$work/say"; }
fail() { echo "FAILED: $case: $1"; sed 's/^/    /' <<<"$text"; failures=$((failures + 1)); }
expect_code() { [ "$code" -eq "$1" ] || fail "exit code $code, expected $1"; }
expect_says() { local word; for word in "$@"; do grep -qF -- "$word" <<<"$text" || fail "does not say '$word'"; done; }
expect_first_line_is_error() { grep -v '^\[canvaslab\]' <<<"$text" | head -n 1 | grep -q '^error: ' || fail "no line 'error: ...' first"; }
expect_no_leftovers() { compgen -G "$work/cache/canvaslab/libtorch-work.*" >/dev/null && fail "a work folder is left behind"; }
calls() { [ -e "$work/$1_calls" ] && wc -l <"$work/$1_calls" || echo 0; }
target="$work/cache/canvaslab/libtorch-2.11.0"

case="a fresh machine"; fresh; setup
expect_code 0; expect_says fetching; [ "$found" = "$target" ] || fail "found '$found'"
[ -s "$target/lib/libcudart.so.13" ] && grep -q 'libtorch_cpu.so' "$target/.complete" || fail "libraries or mark are missing"
expect_no_leftovers
case="a second run"; setup; expect_code 0; [ "$(calls pip)" = 1 ] || fail "downloaded again"; [ "$(calls apt)" = 0 ] || fail "called apt"
case="a damaged library"; : >"$target/lib/libc10.so"; setup; expect_code 0; [ "$(calls pip)" = 2 ] || fail "did not fetch again"
[ -s "$target/lib/libc10.so" ] || fail "still damaged"
case="a folder without mark, as a crash could leave it"; rm "$target/.complete"; setup; expect_code 0; [ "$(calls pip)" = 3 ] || fail "taken for a good one"

case="no network for pip"; fresh; echo 'ERROR: No matching distribution found for torch' >"$work/say/pip_fails"; setup
expect_code 1; expect_first_line_is_error; expect_says 'could not download torch==2.11.0' 'No matching distribution' 'is there a network?' CANVASLAB_LIBTORCH; expect_no_leftovers
case="disk full in pip"; fresh; echo 'OSError: [Errno 28] No space left on device' >"$work/say/pip_fails"; setup
expect_code 1; expect_says 'the disk is full'; expect_no_leftovers
case="disk so full that pip's words are lost"; : >"$work/say/pip_fails"; setup; expect_code 1; expect_says 'the disk is full'
case="no space before the download"; fresh; echo 500000 >"$work/say/free_kb"; setup
expect_code 1; expect_first_line_is_error; expect_says 'not enough space' '488 MB' XDG_CACHE_HOME; [ "$(calls pip)" = 0 ] || fail "downloaded all the same"
case="a broken wheel"; fresh; cp -r "$work/wheels" "$work/good"; truncate -s 300 "$work/wheels/torch-2.11.0-x.whl"; setup
expect_code 1; expect_first_line_is_error; expect_says 'broken'; [ ! -e "$target" ] || fail "kept the broken one"; expect_no_leftovers
rm -rf "$work/wheels"; mv "$work/good" "$work/wheels"; case="and again when it is whole"; setup; expect_code 0

case="a killed download, then the same command"; fresh; : >"$work/say/pip_hangs"
env -u CANVASLAB_LIBTORCH HOME="$work/home" XDG_CACHE_HOME="$work/cache" FAKE="$work" PATH="$work/bin:/usr/bin:/bin" bash -c "source '$root/experiments/setup.sh'" 2>/dev/null &
victim=$!
until [ -e "$work/hanging" ]; do read -rt 0.05 <> <(:) || :; done
orphan="$(pgrep -P "$victim" | head -n 1)"
kill -9 "$victim"; wait "$victim" 2>/dev/null
rm "$work/say/pip_hangs"; setup   # the orphaned download goes on and must not hold the lock
kill "$orphan" 2>/dev/null
expect_code 0; expect_no_leftovers

case="two runs at once"; fresh
for run in 1 2; do
  env -u CANVASLAB_LIBTORCH HOME="$work/home" XDG_CACHE_HOME="$work/cache" FAKE="$work" PATH="$work/bin:/usr/bin:/bin" bash -c "source '$root/experiments/setup.sh'" >"$work/run$run" 2>&1 &
done
wait; text="$(cat "$work/run1" "$work/run2")"
[ "$(calls pip)" = 1 ] || fail "$(calls pip) downloads"; grep -q error <<<"$text" && fail "an error"
case="another run holds the lock"; fresh; mkdir -p "$work/cache/canvaslab"
(flock 7; until grep -q waiting "$work/waits" 2>/dev/null; do read -rt 0.05 <> <(:) || :; done) 7>"$work/cache/canvaslab/libtorch.lock" &
: >"$work/waits"; until ! flock -n "$work/cache/canvaslab/libtorch.lock" true; do :; done
env -u CANVASLAB_LIBTORCH HOME="$work/home" XDG_CACHE_HOME="$work/cache" FAKE="$work" PATH="$work/bin:/usr/bin:/bin" bash -c "source '$root/experiments/setup.sh'" >"$work/waits" 2>&1; code=$?
text="$(cat "$work/waits")"; expect_code 0; expect_says 'another run is' 'waiting for it'; wait

case="packages missing, as root"; fresh; printf 'cmake\nlibfmt-dev\n' >"$work/say/not_installed"; setup
expect_code 0; expect_says 'installing: cmake libfmt-dev'; grep -q 'install .* cmake libfmt-dev$' "$work/apt_calls" || fail "apt-get was called otherwise"
case="apt-get without network"; fresh; echo cmake >"$work/say/not_installed"; echo 'E: Failed to fetch: could not resolve' >"$work/say/apt_fails"; setup
expect_code 1; expect_first_line_is_error; expect_says 'could not install: cmake' 'Failed to fetch' 'is there a network?'
case="apt-get with a full disk"; echo 'E: write (28: No space left on device)' >"$work/say/apt_fails"; setup; expect_code 1; expect_says 'the disk is full'
case="packages missing, no root"; fresh; echo 1000 >"$work/say/uid"; printf 'cmake\nlibfmt-dev\n' >"$work/say/not_installed"
mkdir -p "$work/few"; for tool in bash mkdir rm flock sed tr cat grep env; do ln -sf "$(command -v "$tool")" "$work/few/$tool"; done
setup PATH="$work/bin:$work/few"
expect_code 1; expect_first_line_is_error; expect_says 'missing: ' cmake 'needs root' 'apt:    sudo apt-get install cmake libfmt-dev' 'dnf:' 'conda:'; [ "$(calls apt)" = 0 ] || fail "called apt"

case="a cache folder that cannot be made"; fresh; : >"$work/cache"; setup
expect_code 1; expect_first_line_is_error; expect_says 'cannot write to the cache folder' XDG_CACHE_HOME
case="CANVASLAB_LIBTORCH wrong"; fresh; setup CANVASLAB_LIBTORCH="$work/nowhere"
expect_code 1; expect_first_line_is_error; expect_says "'$work/nowhere'" lib/libtorch_cpu.so unset; [ "$(calls pip)" = 0 ] || fail "downloaded"
case="CANVASLAB_LIBTORCH right, another version"; setup CANVASLAB_LIBTORCH="$work/torch"
expect_code 0; expect_says 'is not LibTorch 2.11.0'; [ "$found" = "$work/torch" ] || fail "found '$found'"; [ "$(calls pip)" = 0 ] || fail "downloaded"

case="an unknown argument of tests/run.sh"; text="$("$root/tests/run.sh" --oracl 2>&1)"; code=$?; expect_code 2; expect_says "'--oracl'" --oracle

[ "$failures" -eq 0 ] && echo "all cases passed"
exit $((failures > 0))
