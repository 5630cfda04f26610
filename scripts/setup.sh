#!/usr/bin/env bash
# Installs everything that building and running millrace needs, on Debian 12 (amd64).
#
#   scripts/setup.sh          what the build, the program and its test cameras need
#   scripts/setup.sh --test   also what only tests need
#
# May be run any number of times: what is there is left alone, and if nothing is missing no package
# manager and no network is touched. Never asks a question. Needs root or sudo only when Debian
# packages are missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

build_packages=(
    g++ make cmake nasm pkg-config
    clang-14 libclang1-14 # the opencv crate reads OpenCV's headers with them
    libopencv-imgproc-dev libopencv-flann-dev libopencv-features2d406
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
    libgstreamer-plugins-bad1.0-dev # WebRTC
    libgstrtspserver-1.0-dev        # pictures over RTSP, and the test camera
    libssl-dev zlib1g-dev           # librdkafka's TLS and compression
)
run_packages=(
    ca-certificates
    libopencv-imgproc406
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-libav
    gstreamer1.0-plugins-ugly # x264enc: writing H.264
    gstreamer1.0-plugins-bad  # h264parse, TS, HLS
    gstreamer1.0-nice         # connections of WebRTC
    gstreamer1.0-x            # the window of --preview
)
# Peers that tests talk to; the RTSP server is a library above, HTTP receivers are part of the tests.
test_packages=(
    mosquitto nats-server redis-server # brokers that events go to
    e2fsprogs                          # small disks that fill up
    python3 python3-venv libgl1 # the client inference_sdk and what it draws with
)

# Headers of features2d. Their package depends on 224 others, so it is unpacked, not installed.
features2d_package=libopencv-features2d-dev
features2d_files=(
    /usr/include/opencv4/opencv2/features2d.hpp
    /usr/lib/x86_64-linux-gnu/libopencv_features2d.so
)

# The last ONNX Runtime that reports nothing to anybody.
ort_version=1.28.0
ort_sha256=aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083
ort_folder=.cache/ort

# The client that tests drive the server with.
sdk_version=1.8.3
sdk_folder=.cache/sdk

# The mail server and the S3 server that sinks are tested with.
peers=(aiosmtpd==1.4.6 'moto[s3,server]==5.2.5' boto3==1.44.5 cryptography==50.0.2)
peers_folder=.cache/peers

rust_minor=88 # rust-version in Cargo.toml is 1.88

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        fail "root is needed for: $*; run scripts/setup.sh as root once, or install sudo"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" || fail "root is needed for: $*; run scripts/setup.sh as root once"
    fi
}

# Shows what apt says only if it fails.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" \
        >"$scratch/apt.log" 2>&1 || {
        tail -n 20 "$scratch/apt.log" >&2
        return 1
    }
}

# Package lists, fetched at most once. Other sources of this machine may be out of reach.
lists_fetched=
fetch_lists() {
    [ -z "$lists_fetched" ] || return 0
    lists_fetched=yes
    say "fetching package lists"
    apt_get update || say "some package lists could not be fetched; going on with what there is"
}

# Of the packages named, prints those that are not installed.
missing_packages() {
    local installed
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
        sed -n 's/^installed //p') || true
    local package
    for package in "$@"; do
        grep -qxF -- "$package" <<<"$installed" || echo "$package"
    done
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    if [ ${#missing[@]} = 0 ]; then
        say "Debian packages: all $# are there"
        return
    fi
    say "Debian packages: installing ${missing[*]}"
    fetch_lists
    apt_get install --yes --no-install-recommends "${missing[@]}" ||
        fail "apt-get could not install: ${missing[*]}"
}

has_features2d() {
    local file
    for file in "${features2d_files[@]}"; do
        [ -e "$file" ] || return 1
    done
}

unpack_features2d() {
    if has_features2d; then
        say "OpenCV headers of features2d: there"
        return
    fi
    say "OpenCV headers of features2d: unpacking $features2d_package"
    fetch_lists
    (
        cd "$scratch"
        apt-get -q -o APT::Sandbox::User=root download "$features2d_package" >/dev/null
        as_root dpkg -x "$features2d_package"_*.deb /
    )
    has_features2d || fail "$features2d_package did not bring ${features2d_files[*]}"
}

is_ort() { [ "$(sha256sum "$1" 2>/dev/null | cut -d' ' -f1)" = "$ort_sha256" ]; }

# Prints a Python that has pip: the one of the system, or one in a folder of its own.
python_with_pip() {
    if python3 -m pip --version >/dev/null 2>&1; then
        echo python3
        return
    fi
    install_packages python3 python3-venv >&2
    python3 -m venv "$scratch/venv" >&2
    echo "$scratch/venv/bin/python"
}

fetch_ort() {
    local library=$ort_folder/libonnxruntime.so
    if is_ort "$library"; then
        say "ONNX Runtime $ort_version: there"
        return
    fi
    say "ONNX Runtime $ort_version: taking $library out of the wheel on PyPI"
    local python
    python=$(python_with_pip)
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
        --dest "$scratch" "onnxruntime==$ort_version"
    mkdir -p "$ort_folder"
    "$python" - "$scratch" "$ort_version" <<'PYTHON'
import pathlib, sys, zipfile

folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = folder.glob("onnxruntime-*.whl")
library = zipfile.ZipFile(wheel).read(f"onnxruntime/capi/libonnxruntime.so.{version}")
(folder / "libonnxruntime.so").write_bytes(library)
PYTHON
    is_ort "$scratch/libonnxruntime.so" ||
        fail "the wheel of ONNX Runtime $ort_version holds another library than expected"
    # Copied beside its place first, so that it is never half there.
    install -m 755 "$scratch/libonnxruntime.so" "$library.new"
    mv "$library.new" "$library"
}

has_sdk() {
    "$sdk_folder/bin/python" -c "
from importlib.metadata import version
import aiortc, inference_sdk
assert version('inference-sdk') == '$sdk_version'" >/dev/null 2>&1
}

fetch_sdk() {
    if has_sdk; then
        say "inference-sdk $sdk_version: there"
        return
    fi
    say "inference-sdk $sdk_version: installing into $sdk_folder"
    rm -rf "$sdk_folder"
    python3 -m venv "$sdk_folder"
    "$sdk_folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        "inference-sdk[webrtc]==$sdk_version" || fail "pip could not install inference-sdk"
    has_sdk || fail "inference-sdk was installed but cannot be imported"
}

has_peers() {
    [ "$(cat "$peers_folder/installed" 2>/dev/null)" = "${peers[*]}" ] &&
        "$peers_folder/bin/python" -c "import aiosmtpd, moto.server" >/dev/null 2>&1
}

fetch_peers() {
    if has_peers; then
        say "peers of tests (${peers[*]}): there"
        return
    fi
    say "peers of tests (${peers[*]}): installing into $peers_folder"
    rm -rf "$peers_folder"
    python3 -m venv "$peers_folder"
    "$peers_folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        "${peers[@]}" || fail "pip could not install the peers of tests"
    echo "${peers[*]}" >"$peers_folder/installed"
    has_peers || fail "the peers of tests were installed but cannot be imported"
}

# Minor version of the cargo that this shell finds; nothing if there is none.
cargo_minor() {
    { cargo --version 2>/dev/null || true; } | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p'
}

check_rust() {
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    local minor
    minor=$(cargo_minor)
    if [ "${minor:-0}" -ge "$rust_minor" ]; then
        say "Rust: $(cargo --version)"
        return
    fi
    if command -v rustup >/dev/null; then
        say "Rust: installing the stable toolchain with rustup"
        rustup toolchain install stable --profile default --no-self-update ||
            fail "Rust 1.$rust_minor or newer is needed and rustup could not fetch it"
        rustup default stable
    else
        say "Rust: installing it with rustup from https://sh.rustup.rs (Debian's own is too old)"
        install_packages curl ca-certificates
        curl --proto '=https' --tlsv1.2 --fail --silent --show-error --max-time 60 \
            --output "$scratch/rustup.sh" https://sh.rustup.rs ||
            fail "cannot reach https://sh.rustup.rs; install Rust 1.$rust_minor or newer by hand"
        sh "$scratch/rustup.sh" -y --profile default --no-modify-path ||
            fail "rustup failed; install Rust 1.$rust_minor or newer by hand"
    fi
    minor=$(cargo_minor)
    [ "${minor:-0}" -ge "$rust_minor" ] || fail "cargo is still older than 1.$rust_minor"
    say "Rust: $(cargo --version)"
}

packages=("${build_packages[@]}" "${run_packages[@]}")
case "${1-}" in
'') ;;
--test) packages+=("${test_packages[@]}") ;;
*) fail "unknown argument $1; usage: scripts/setup.sh [--test]" ;;
esac

command -v dpkg-query >/dev/null || fail "this is not Debian; see the package lists in this script"
[ "$(dpkg --print-architecture)" = amd64 ] ||
    fail "only amd64 is supported, this is $(dpkg --print-architecture)"
release=$(. /etc/os-release && echo "${ID-} ${VERSION_ID-}")
[ "$release" = "debian 12" ] || say "made for Debian 12, this is $release; trying all the same"

command -v python3 >/dev/null || packages+=(python3)
install_packages "${packages[@]}"
unpack_features2d
fetch_ort
if [ "${1-}" = --test ]; then
    fetch_sdk
    fetch_peers
fi
check_rust
say "done"
