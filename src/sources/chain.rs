//! The GStreamer pipeline of one connection: the kind's own head, and the same tail for all
//! (conversion where the decoder's format is not taken as it is, turning where the file asks for it,
//! appsink).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use url::Url;

use super::frame::PIXEL_FORMATS;
use super::gst::make;
use super::shared::Shared;
use super::supervisor::Signal;
use super::uri::{CameraFormat, CameraUri, PatternUri};
use super::{Address, SourceError, SourceSpec, SourceUri, decoder, mp4, rtsp, tls};
use crate::redact::Redacted;

/// One pipeline, not started.
pub(crate) struct Chain {
    /// The whole.
    pub pipeline: gst::Pipeline,
    /// Its end.
    pub sink: gst_app::AppSink,
    /// Whether an RTSP server has named a video stream so far; true for other sources.
    pub video_offered: Arc<AtomicBool>,
}

/// Builds the pipeline of a source. `udp` chooses the way of RTP packets; errors found while it runs
/// go to `signals`.
pub(crate) fn build(
    shared: &Arc<Shared>,
    udp: bool,
    signals: &Sender<Signal>,
) -> Result<Chain, SourceError> {
    let (spec, name) = (&shared.spec, &shared.name);
    let pipeline = gst::Pipeline::new();
    let (entry, sink) = tail(&pipeline, spec, name)?;
    let mut video_offered = Arc::new(AtomicBool::new(true));
    match &spec.uri {
        SourceUri::File(path) => {
            let uri = file_uri(path, name)?;
            let bin = make("uridecodebin", name)?;
            decode_video_only(&bin);
            leave_out_failed_decoders(&bin, shared);
            decode_uri(&pipeline, &entry, &bin, &uri, shared, signals)?;
        }
        SourceUri::Http(address) => {
            // `uridecodebin` holds an MJPEG stream back until it ends; this one does not.
            let bin = make("uridecodebin3", name)?;
            set_up_http(&bin, address.clone(), spec)?;
            decode_uri(&pipeline, &entry, &bin, address.location(), shared, signals)?;
        }
        SourceUri::Udp(address) | SourceUri::Srt(address) => {
            let bin = make("uridecodebin", name)?;
            decode_video_only(&bin);
            leave_out_failed_decoders(&bin, shared);
            set_up_packets(&bin);
            decode_uri(&pipeline, &entry, &bin, address.location(), shared, signals)?;
        }
        SourceUri::Rtsp(address) => {
            video_offered = rtsp::head(&pipeline, &entry, address, shared, udp, signals)?;
        }
        SourceUri::Camera(camera) => {
            camera_head(&pipeline, &entry, camera, shared, signals)?;
        }
        SourceUri::Pattern(pattern) => pattern_head(&pipeline, &entry, pattern, name)?,
        SourceUri::Track(_) => return Err(internal("a track has a connection of its own")),
    }
    Ok(Chain {
        pipeline,
        sink,
        video_offered,
    })
}

/// Converter and appsink, linked; returns the pad that takes decoded pictures.
pub(crate) fn tail(
    pipeline: &gst::Pipeline,
    spec: &SourceSpec,
    name: &Redacted,
) -> Result<(gst::Pad, gst_app::AppSink), SourceError> {
    let convert = make("videoconvert", name)?;
    convert.set_property("n-threads", 1u32);
    convert.set_property_from_str("dither", "none");
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(PIXEL_FORMATS)
        .build();
    let sink = gst_app::AppSink::builder()
        .caps(&caps)
        .sync(spec.realtime && !spec.uri.is_live())
        .max_buffers(1)
        .drop(false)
        .enable_last_sample(false)
        .build();
    let mut elements = vec![convert.clone()];
    if is_turned(&spec.uri) {
        let flip = make("videoflip", name)?;
        flip.set_property_from_str("video-direction", "auto");
        elements.push(flip);
    }
    elements.push(sink.clone().upcast());
    pipeline.add_many(&elements).map_err(internal)?;
    gst::Element::link_many(&elements).map_err(internal)?;
    let entry = convert
        .static_pad("sink")
        .ok_or_else(|| internal("videoconvert has no sink pad"))?;
    entry.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        change_caps(info, convert_as_bt601);
        gst::PadProbeReturn::Ok
    });
    Ok((entry, sink))
}

/// Whether the picture of a file is stored turned, as telephones do; the reference turns it back.
fn is_turned(uri: &SourceUri) -> bool {
    matches!(uri, SourceUri::File(path) if mp4::video_track(path).is_some_and(|t| t.turned))
}

/// Has `bin` decode an address; its first video pad goes to `entry`.
fn decode_uri(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    bin: &gst::Element,
    uri: &str,
    shared: &Arc<Shared>,
    signals: &Sender<Signal>,
) -> Result<(), SourceError> {
    bin.set_property("uri", uri);
    let caps = gst::Caps::builder("video/x-raw").any_features().build();
    bin.set_property("caps", &caps);
    pipeline.add(bin).map_err(internal)?;
    link_first_video(bin, entry, &shared.name, signals);
    tune_decoders(bin, shared);
    Ok(())
}

/// Leaves sound and subtitles as they are.
fn decode_video_only(bin: &gst::Element) {
    bin.connect("autoplug-continue", false, |args| {
        let caps = args.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let other = caps.is_some_and(|caps| {
            caps.structure(0)
                .is_some_and(|s| s.name().starts_with("audio/") || s.name().starts_with("text/"))
        });
        Some((!other).to_value())
    });
}

/// Sends the first video pad that appears to `entry`, and swallows the others: a stream without a
/// taker would stop the file. Says so when there is no video among them.
fn link_first_video(
    element: &gst::Element,
    entry: &gst::Pad,
    name: &Redacted,
    signals: &Sender<Signal>,
) {
    let weak = entry.downgrade();
    element.connect_pad_added(move |element, pad| {
        let Some(entry) = weak.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let video = caps
            .structure(0)
            .is_some_and(|s| s.name().starts_with("video/"));
        let linked = if video && !entry.is_linked() {
            pad.link(&entry).is_ok()
        } else {
            swallow(element, pad).is_some()
        };
        if !linked {
            tracing::warn!(%caps, "a stream could not be linked");
        }
    });
    let (weak, name, signals) = (entry.downgrade(), name.clone(), signals.clone());
    element.connect_no_more_pads(move |_| {
        if weak.upgrade().is_some_and(|entry| !entry.is_linked()) {
            let _ = signals.try_send(Signal::Fault(SourceError::NotVideo {
                source_name: name.clone(),
                reason: "it has no video stream".to_owned(),
            }));
        }
    });
}

/// Gives a pad a sink that throws everything away.
fn swallow(element: &gst::Element, pad: &gst::Pad) -> Option<()> {
    let pipeline = element.parent()?.downcast::<gst::Bin>().ok()?;
    let sink = gst::ElementFactory::make("fakesink")
        .property("async", false)
        .property("sync", false)
        .build()
        .ok()?;
    pipeline.add(&sink).ok()?;
    sink.sync_state_with_parent().ok()?;
    pad.link(&sink.static_pad("sink")?).ok()?;
    Some(())
}

/// Passes over decoders that failed before.
fn leave_out_failed_decoders(bin: &gst::Element, shared: &Arc<Shared>) {
    let shared = shared.clone();
    bin.connect("autoplug-select", false, move |args| {
        let factory = args.get(3)?.get::<gst::ElementFactory>().ok()?;
        let word = match shared.decoders.has_failed(&factory.name()) {
            true => "skip",
            false => "try",
        };
        let answers = gst::glib::Type::from_name("GstAutoplugSelectResult")?;
        gst::glib::EnumClass::with_type(answers)?.to_value_by_nick(word)
    });
}

/// Sets up each video decoder inside a bin as it appears; and takes the luma range from the stream
/// itself instead of the container (whose demuxer claims limited range for H.264 in MP4).
fn tune_decoders(bin: &gst::Element, shared: &Arc<Shared>) {
    let Some(bin) = bin.downcast_ref::<gst::Bin>() else {
        return;
    };
    let shared = shared.clone();
    bin.connect_deep_element_added(move |_, _, element| {
        if !decoder::is_decoder(element) {
            return;
        }
        decoder::tune(element, &shared);
        if let Some(pad) = element.static_pad("sink") {
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
                change_caps(info, |caps| {
                    let structure = caps.make_mut().structure_mut(0)?;
                    matches!(structure.name().as_str(), "video/x-h264" | "video/x-h265")
                        .then(|| structure.remove_field("colorimetry"));
                    Some(())
                });
                gst::PadProbeReturn::Ok
            });
        }
    });
}

/// The reference decodes every stream by the BT.601 matrix; GStreamer, where it has to convert, goes
/// by the one that the stream names.
fn convert_as_bt601(caps: &mut gst::Caps) -> Option<()> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    if !info.is_yuv() || PIXEL_FORMATS.contains(&info.format()) {
        return None;
    }
    let named = info.colorimetry();
    let wanted = gst_video::VideoColorimetry::new(
        named.range(),
        gst_video::VideoColorMatrix::Bt601,
        named.transfer(),
        named.primaries(),
    );
    caps.make_mut()
        .structure_mut(0)?
        .set("colorimetry", wanted.to_string());
    Some(())
}

/// Lets `change` rewrite the caps that a probe sees passing.
fn change_caps(
    info: &mut gst::PadProbeInfo<'_>,
    change: impl FnOnce(&mut gst::Caps) -> Option<()>,
) {
    if let Some(gst::PadProbeData::Event(event)) = &mut info.data
        && let gst::EventView::Caps(caps) = event.view()
    {
        let mut caps = caps.caps_owned();
        if change(&mut caps).is_some() {
            *event = gst::event::Caps::new(&caps);
        }
    }
}

/// Login and trust of HTTP requests. HLS playlists have theirs made by the same bin.
fn set_up_http(bin: &gst::Element, address: Address, spec: &SourceSpec) -> Result<(), SourceError> {
    let check = spec.check_certificate;
    let follows = spec.follow_redirects;
    let trusted = spec.tls.ca.clone();
    trusted.as_deref().map(tls::authorities).transpose()?;
    bin.connect("source-setup", false, move |args| {
        let source = args.get(1)?.get::<gst::Element>().ok()?;
        if let Some((user, password)) = address.credentials()
            && source.find_property("user-id").is_some()
        {
            source.set_property("user-id", user);
            source.set_property("user-pw", password);
        }
        if source.find_property("ssl-strict").is_some() {
            source.set_property("ssl-strict", check);
        }
        if source.find_property("automatic-redirect").is_some() {
            source.set_property("automatic-redirect", follows);
        }
        if let Some(trusted) = &trusted
            && source.find_property("tls-database").is_some()
            && let Ok(trusted) = tls::authorities(trusted)
        {
            source.set_property("tls-database", trusted);
        }
        None
    });
    Ok(())
}

/// Sources of packets: a loss is told, as the supervisor connects again, and the kernel keeps what
/// comes while a decoder is busy.
fn set_up_packets(bin: &gst::Element) {
    bin.connect("source-setup", false, move |args| {
        let source = args.get(1)?.get::<gst::Element>().ok()?;
        if source.find_property("auto-reconnect").is_some() {
            source.set_property("auto-reconnect", false);
        }
        if source.find_property("buffer-size").is_some() {
            source.set_property("buffer-size", 2_000_000i32);
        }
        None
    });
}

fn camera_head(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    camera: &CameraUri,
    shared: &Arc<Shared>,
    signals: &Sender<Signal>,
) -> Result<(), SourceError> {
    let name = &shared.name;
    let source = make("v4l2src", name)?;
    source.set_property("device", camera.device.to_string_lossy().as_ref());
    let filter = make("capsfilter", name)?;
    filter.set_property("caps", camera_caps(camera));
    let bin = make("decodebin", name)?;
    leave_out_failed_decoders(&bin, shared);
    let elements = [&source, &filter, &bin];
    pipeline.add_many(elements).map_err(internal)?;
    gst::Element::link_many(elements).map_err(internal)?;
    link_first_video(&bin, entry, name, signals);
    tune_decoders(&bin, shared);
    Ok(())
}

/// The caps that a camera is asked for.
fn camera_caps(camera: &CameraUri) -> gst::Caps {
    let media: &[&str] = match camera.format {
        None => &["image/jpeg", "video/x-raw", "video/x-h264"],
        Some(CameraFormat::Raw) => &["video/x-raw"],
        Some(CameraFormat::Mjpeg) => &["image/jpeg"],
        Some(CameraFormat::H264) => &["video/x-h264"],
    };
    if camera.format.is_none() && camera.size.is_none() && camera.fps.is_none() {
        return gst::Caps::new_any();
    }
    let mut caps = gst::Caps::new_empty();
    for media in media {
        let mut structure = gst::Structure::new_empty(*media);
        if let Some((width, height)) = camera.size {
            structure.set("width", width as i32);
            structure.set("height", height as i32);
        }
        if let Some(fps) = camera.fps {
            structure.set("framerate", gst::Fraction::new(fps as i32, 1));
        }
        caps.make_mut().append_structure(structure);
    }
    caps
}

fn pattern_head(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    pattern: &PatternUri,
    name: &Redacted,
) -> Result<(), SourceError> {
    let source = make("videotestsrc", name)?;
    let known = source
        .find_property("pattern")
        .and_then(|p| gst::glib::EnumClass::with_type(p.value_type()))
        .is_some_and(|class| class.value_by_nick(&pattern.pattern).is_some());
    if !known {
        return Err(SourceError::Option {
            option: "pattern",
            reason: format!("videotestsrc has no pattern named {}", pattern.pattern),
        });
    }
    source.set_property_from_str("pattern", &pattern.pattern);
    source.set_property("is-live", pattern.live);
    if let Some(frames) = pattern.frames {
        source.set_property("num-buffers", frames as i32);
    }
    let caps = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .width(pattern.width as i32)
        .height(pattern.height as i32)
        .framerate(gst::Fraction::new(pattern.fps as i32, 1))
        .build();
    let filter = make("capsfilter", name)?;
    filter.set_property("caps", &caps);
    pipeline.add_many([&source, &filter]).map_err(internal)?;
    source.link(&filter).map_err(internal)?;
    let pad = filter
        .static_pad("src")
        .ok_or_else(|| internal("capsfilter has no source pad"))?;
    pad.link(entry).map_err(internal)?;
    Ok(())
}

fn file_uri(path: &Path, name: &Redacted) -> Result<String, SourceError> {
    std::path::absolute(path)
        .ok()
        .and_then(|path| Url::from_file_path(path).ok())
        .map(String::from)
        .ok_or_else(|| SourceError::Address {
            address: name.clone(),
            reason: "it is not a path".to_owned(),
        })
}

/// An error that only a broken GStreamer gives.
pub(crate) fn internal(error: impl std::fmt::Display) -> SourceError {
    SourceError::Host {
        reason: error.to_string(),
    }
}
