//! Short names that the platform's clients use for public models.

/// Model ids and the short names that mean them; `yolo11…` and `yolo26…` may also be written with
/// a `v` before the number.
const ALIASES: &[(&str, &str)] = &[
    ("coco/3", "yolov8n-640"),
    ("coco/9", "yolov8n-1280"),
    ("coco/6", "yolov8s-640"),
    ("coco/10", "yolov8s-1280"),
    ("coco/8", "yolov8m-640"),
    ("coco/11", "yolov8m-1280"),
    ("coco/7", "yolov8l-640"),
    ("coco/12", "yolov8l-1280"),
    ("coco/5", "yolov8x-640"),
    ("coco/13", "yolov8x-1280"),
    ("coco/14", "yolo-nas-s-640"),
    ("coco/15", "yolo-nas-m-640"),
    ("coco/16", "yolo-nas-l-640"),
    ("coco/19", "yolov10n-640"),
    ("coco/20", "yolov10s-640"),
    ("coco/21", "yolov10m-640"),
    ("coco/22", "yolov10b-640"),
    ("coco/23", "yolov10l-640"),
    ("coco/24", "yolov10x-640"),
    ("coco/25", "yolo11n-640"),
    ("coco/26", "yolo11s-640"),
    ("coco/27", "yolo11m-640"),
    ("coco/28", "yolo11l-640"),
    ("coco/29", "yolo11x-640"),
    ("coco/30", "yolo11n-1280"),
    ("coco/31", "yolo11s-1280"),
    ("coco/32", "yolo11m-1280"),
    ("coco/33", "yolo11l-1280"),
    ("coco/34", "yolo11x-1280"),
    ("coco/36", "rfdetr-base"),
    ("coco/38", "rfdetr-nano"),
    ("coco/39", "rfdetr-small"),
    ("coco/40", "rfdetr-medium"),
    ("coco/50", "rfdetr-large"),
    ("coco/47", "rfdetr-xlarge"),
    ("coco/48", "rfdetr-2xlarge"),
    ("coco/41", "yolo26n-640"),
    ("coco/42", "yolo26s-640"),
    ("coco/43", "yolo26m-640"),
    ("coco/44", "yolo26l-640"),
    ("coco/45", "yolo26x-640"),
];

/// The model id that a short name means.
pub fn meant_by(name: &str) -> Option<&'static str> {
    let plain = match name {
        _ if name.starts_with("yolov11") => name.replacen("yolov", "yolo", 1),
        _ if name.starts_with("yolov26") => name.replacen("yolov", "yolo", 1),
        _ => name.to_owned(),
    };
    let found = ALIASES.iter().find(|(_, alias)| *alias == plain);
    found.map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same_model() {
        assert_eq!(meant_by("yolov8n-640"), Some("coco/3"));
        assert_eq!(meant_by("yolo11n-640"), meant_by("yolov11n-640"));
        assert_eq!(meant_by("yolov26x-640"), Some("coco/45"));
        assert_eq!(meant_by("coco/3"), None);
    }
}
