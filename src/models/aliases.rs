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
    ("coco-dataset-vdnr1/2", "yolov8n-seg-640"),
    ("coco-dataset-vdnr1/7", "yolov8n-seg-1280"),
    ("coco-dataset-vdnr1/4", "yolov8s-seg-640"),
    ("coco-dataset-vdnr1/8", "yolov8s-seg-1280"),
    ("coco-dataset-vdnr1/5", "yolov8m-seg-640"),
    ("coco-dataset-vdnr1/9", "yolov8m-seg-1280"),
    ("coco-dataset-vdnr1/6", "yolov8l-seg-640"),
    ("coco-dataset-vdnr1/10", "yolov8l-seg-1280"),
    ("coco-dataset-vdnr1/3", "yolov8x-seg-640"),
    ("coco-dataset-vdnr1/11", "yolov8x-seg-1280"),
    ("coco-dataset-vdnr1/19", "yolo11n-seg-640"),
    ("coco-dataset-vdnr1/20", "yolo11s-seg-640"),
    ("coco-dataset-vdnr1/21", "yolo11m-seg-640"),
    ("coco-dataset-vdnr1/22", "yolo11l-seg-640"),
    ("coco-dataset-vdnr1/23", "yolo11x-seg-640"),
    ("coco-dataset-vdnr1/26", "rfdetr-seg-preview"),
    ("coco-dataset-vdnr1/41", "rfdetr-seg-nano"),
    ("coco-dataset-vdnr1/36", "rfdetr-seg-small"),
    ("coco-dataset-vdnr1/37", "rfdetr-seg-medium"),
    ("coco-dataset-vdnr1/38", "rfdetr-seg-large"),
    ("coco-dataset-vdnr1/39", "rfdetr-seg-xlarge"),
    ("coco-dataset-vdnr1/40", "rfdetr-seg-2xlarge"),
    ("coco-dataset-vdnr1/27", "yolo26n-seg-640"),
    ("coco-dataset-vdnr1/28", "yolo26s-seg-640"),
    ("coco-dataset-vdnr1/29", "yolo26m-seg-640"),
    ("coco-dataset-vdnr1/31", "yolo26l-seg-640"),
    ("coco-dataset-vdnr1/34", "yolo26x-seg-640"),
    ("coco-pose-detection/1", "yolov8n-pose-640"),
    ("coco-pose-detection/2", "yolov8s-pose-640"),
    ("coco-pose-detection/3", "yolov8m-pose-640"),
    ("coco-pose-detection/4", "yolov8l-pose-640"),
    ("coco-pose-detection/5", "yolov8x-pose-640"),
    ("coco-pose-detection/6", "yolov8x-pose-1280"),
    ("coco-pose-detection/12", "yolo26n-pose-640"),
    ("coco-pose-detection/13", "yolo26s-pose-640"),
    ("coco-pose-detection/14", "yolo26m-pose-640"),
    ("coco-pose-detection/15", "yolo26l-pose-640"),
    ("coco-pose-detection/16", "yolo26x-pose-640"),
    ("yolo26-pretrains/yolo26n-sem", "yolo26n-sem-1024"),
    ("yolo26-pretrains/yolo26s-sem", "yolo26s-sem-1024"),
    ("yolo26-pretrains/yolo26m-sem", "yolo26m-sem-1024"),
    ("yolo26-pretrains/yolo26l-sem", "yolo26l-sem-1024"),
    ("yolo26-pretrains/yolo26x-sem", "yolo26x-sem-1024"),
    ("yolo26-pretrains/yolo26n-depth", "yolo26n-depth-768"),
    ("yolo26-pretrains/yolo26s-depth", "yolo26s-depth-768"),
    ("yolo26-pretrains/yolo26m-depth", "yolo26m-depth-768"),
    ("yolo26-pretrains/yolo26l-depth", "yolo26l-depth-768"),
    ("yolo26-pretrains/yolo26x-depth", "yolo26x-depth-768"),
    ("classifiers/1", "resnet18"),
    ("classifiers/2", "resnet34"),
    ("classifiers/3", "resnet50"),
    ("classifiers/4", "resnet101"),
    ("florence-pretrains/3", "florence-2-base"),
    ("florence-pretrains/4", "florence-2-large"),
    ("qwen-pretrains/1", "qwen25-vl-7b"),
    ("qwen-pretrains/2", "qwen3vl-2b-instruct"),
    ("paligemma-pretrains/1", "paligemma-3b-mix-224"),
    ("paligemma-pretrains/20", "paligemma-3b-mix-448"),
    ("paligemma-pretrains/8", "paligemma-3b-ft-cococap-224"),
    ("paligemma-pretrains/9", "paligemma-3b-ft-screen2words-224"),
    ("paligemma-pretrains/10", "paligemma-3b-ft-vqav2-224"),
    ("paligemma-pretrains/11", "paligemma-3b-ft-tallyqa-224"),
    ("paligemma-pretrains/12", "paligemma-3b-ft-docvqa-224"),
    ("paligemma-pretrains/13", "paligemma-3b-ft-ocrvqa-224"),
    ("paligemma-pretrains/14", "paligemma-3b-ft-cococap-448"),
    ("paligemma-pretrains/15", "paligemma-3b-ft-screen2words-448"),
    ("paligemma-pretrains/16", "paligemma-3b-ft-vqav2-448"),
    ("paligemma-pretrains/17", "paligemma-3b-ft-tallyqa-448"),
    ("paligemma-pretrains/18", "paligemma-3b-ft-docvqa-448"),
    ("paligemma-pretrains/19", "paligemma-3b-ft-ocrvqa-448"),
    (
        "microsoft/coco-pose-detection-17-rfdetr-keypoint-preview-t1",
        "rfdetr-keypoint-preview",
    ),
    ("captoin-t38zo/1", "sam3-3d-objects"),
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
        assert_eq!(meant_by("yolov26n-sem-1024"), meant_by("yolo26n-sem-1024"));
        assert_eq!(meant_by("yolov8x-seg-640"), Some("coco-dataset-vdnr1/3"));
        assert_eq!(meant_by("resnet101"), Some("classifiers/4"));
        assert_eq!(meant_by("coco/3"), None);
    }
}
