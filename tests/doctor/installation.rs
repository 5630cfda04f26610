//! What is wrong with folders, disks, libraries and weights.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use super::machine::{Machine, can_mount};

#[test]
fn a_cache_folder_that_is_a_file() {
    let machine = Machine::healthy();
    let file = machine.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let cache = file.join("cache").display().to_string();
    let machine = machine.with("MODEL_CACHE_DIR", cache);
    machine.has_one_fault("cache writable", "is a file", "set MODEL_CACHE_DIR");
}

#[test]
fn a_cache_folder_that_is_mounted_read_only() {
    if !can_mount() {
        return;
    }
    let read_only = "mount --bind \"$CACHE\" \"$CACHE\"; mount -o remount,ro,bind \"$CACHE\"";
    let report = Machine::healthy().examine_after(read_only);
    report.only_fault("cache writable", "read-only", "without `:ro`");
}

#[test]
fn a_disk_that_is_full() {
    if !can_mount() {
        return;
    }
    let full = "mount -t tmpfs -o size=256k none \"$CACHE\"
dd if=/dev/zero of=\"$CACHE/fill\" bs=1k 2>/dev/null || true";
    let report = Machine::healthy().examine_after(full);
    let both = BTreeSet::from(["cache space", "cache writable"]);
    assert_eq!(report.checks("fault"), both, "{report:#?}");
    let (evidence, remedy) = report.one("cache space", "fault");
    assert!(
        evidence.contains("0 bytes of 256.0 KiB are free"),
        "{evidence}"
    );
    assert!(remedy.contains("du -xh"), "{remedy}");
    let (evidence, _) = report.one("cache volume", "warning");
    assert!(evidence.contains("(tmpfs): memory"), "{evidence}");
}

#[test]
fn a_cache_folder_in_the_layer_of_a_container() {
    let look = |name: &str| (name == "OFFLINE_MODE").then(|| "true".to_owned());
    let mut circumstances = millrace::doctor::Circumstances::from_env(look);
    circumstances.port = Machine::healthy().port;
    circumstances.mounts = "22 1 0:20 / / rw - overlay overlay rw\n".into();
    let clock = Arc::new(millrace::clock::SystemClock::default());
    let found = millrace::doctor::examine(&circumstances, clock);
    let volume = found
        .iter()
        .find(|f| f.check == millrace::doctor::Check::CacheVolume)
        .unwrap();
    assert_eq!(volume.verdict, millrace::doctor::Verdict::Warning);
    assert!(volume.remedy.as_ref().unwrap().contains("docker run -v"));
}

/// A healthy machine on which GStreamer has all plug-ins but this one.
fn without_plugin(library: &str) -> Machine {
    let plugins = Command::new("pkg-config")
        .args(["--variable=pluginsdir", "gstreamer-1.0"])
        .output()
        .unwrap();
    let plugins = String::from_utf8(plugins.stdout).unwrap();
    let machine = Machine::healthy();
    let most = machine.folder.path().join("plugins");
    fs::create_dir(&most).unwrap();
    for plugin in fs::read_dir(plugins.trim()).unwrap() {
        let path = plugin.unwrap().path();
        let name = path.file_name().unwrap();
        if name != library {
            std::os::unix::fs::symlink(&path, most.join(name)).unwrap();
        }
    }
    let registry = machine
        .folder
        .path()
        .join("registry.bin")
        .display()
        .to_string();
    machine
        .with("GST_PLUGIN_SYSTEM_PATH", most.display().to_string())
        .with("GST_REGISTRY", registry)
}

#[test]
fn a_plug_in_of_gstreamer_that_is_missing() {
    let report = without_plugin("libgstx264.so").examine();
    let faults = report.checks("fault");
    assert!(faults.contains("encoder"), "{report:#?}");
    // A graphics card encodes pictures for RTSP too.
    let all = BTreeSet::from(["encoder", "webrtc", "rtsp output"]);
    assert!(faults.is_subset(&all), "{report:#?}");
    for check in &faults {
        let (evidence, remedy) = report.one(check, "fault");
        assert!(evidence.contains("without x264enc"), "{evidence}");
        let install = "apt-get install gstreamer1.0-plugins-ugly`";
        assert!(remedy.contains(install), "{remedy}");
        assert!(remedy.contains("unset GST_PLUGIN_SYSTEM_PATH"), "{remedy}");
    }
    let (evidence, _) = report.one("webrtc", "fault");
    assert!(evidence.contains("no track in H.264"), "{evidence}");
}

#[test]
fn webrtc_without_its_connections() {
    let report = without_plugin("libgstnice.so").examine();
    report.only_fault(
        "webrtc",
        "no session over WebRTC can be had without nicesink, nicesrc",
        "apt-get install gstreamer1.0-nice`",
    );
}

#[test]
fn no_plug_ins_at_all() {
    let machine = Machine::healthy();
    let registry = machine
        .folder
        .path()
        .join("registry.bin")
        .display()
        .to_string();
    let machine = machine
        .with("GST_PLUGIN_SYSTEM_PATH", "/nowhere")
        .with("GST_REGISTRY", registry);
    let report = machine.examine();
    let all = BTreeSet::from(["gstreamer", "decoders", "encoder", "webrtc", "rtsp output"]);
    assert_eq!(report.checks("fault"), all, "{report:#?}");
    let (evidence, remedy) = report.one("decoders", "fault");
    assert!(evidence.contains("no decoder for H.264"), "{evidence}");
    assert!(remedy.contains("gstreamer1.0-libav"), "{remedy}");
}

#[test]
fn a_library_of_onnx_runtime_that_is_not_there() {
    let machine = Machine::healthy().with("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    let report = machine.examine();
    report.only_fault(
        "onnx runtime",
        "/nowhere/libonnxruntime.so",
        "set ORT_DYLIB_PATH",
    );
}

#[test]
fn a_library_that_is_no_library() {
    let machine = Machine::healthy();
    let fake = machine.folder.path().join("libonnxruntime.so");
    fs::write(&fake, "no library").unwrap();
    let machine = machine.with("ORT_DYLIB_PATH", fake.display().to_string());
    machine.has_one_fault("onnx runtime", "cannot be used", "scripts/setup.sh");
}

#[test]
fn weights_that_were_cut_short() {
    let machine = Machine::healthy();
    let path = machine.package().join("weights.onnx");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let remedy = machine.package().display().to_string();
    machine.has_one_fault("model", "weights.onnx cannot be used", &remedy);
}

#[test]
fn a_package_without_a_description() {
    let machine = Machine::healthy();
    fs::write(machine.package().join("model_config.json"), "{\"model_arch").unwrap();
    machine.has_one_fault("model", "model_config.json cannot be used", "again");
}

#[test]
fn cached_weights_that_are_not_what_was_downloaded() {
    let machine = Machine::healthy();
    let blobs = machine.cache().join("shared-blobs");
    fs::create_dir_all(&blobs).unwrap();
    let blob = blobs.join("900150983cd24fb0d6963f7d28e17f72");
    fs::write(&blob, "not abc").unwrap();
    let remedy = format!("rm {}", blob.display());
    machine.has_one_fault("cached weights", "another MD5", &remedy);
}
