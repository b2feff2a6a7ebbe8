"""Learners' health: levels, alerts, and how well the model predicts."""

from __future__ import annotations

from deploy.grafana.panels import RATE, Panel, mean, panel

ANSWERS = "aivo_brain_predicted_answers"
PANELS: tuple[Panel, ...] = (
    panel(
        "Levels",
        "Mean level (0 to 1) after interactions.",
        (mean("aivo_brain_level", by="level"), "{{level}}"),
        unit="percentunit",
        width=12,
    ),
    panel(
        "Levels of the highest tenth",
        "90th percentile after interactions.",
        (
            f"histogram_quantile(0.9, sum by (le, level) (rate(aivo_brain_level_bucket{RATE})))",
            "{{level}}",
        ),
        unit="percentunit",
        width=12,
    ),
    panel(
        "Into alert",
        "Levels that crossed their alert threshold, a second: load, frustration and fatigue "
        "upwards, "
        "engagement, confidence and motivation downwards.",
        (
            f"sum by (name) (rate(aivo_brain_crossings_total"
            f'{{name=~"cognitive_load|frustration_level|fatigue_level",'
            f'direction="rising"}}{RATE}))',
            "{{name}}",
        ),
        (
            f"sum by (name) (rate(aivo_brain_crossings_total"
            f'{{name=~"engagement_level|confidence_level|'
            f'motivation_level",direction="falling"}}{RATE}))',
            "{{name}}",
        ),
        unit="cps",
    ),
    panel(
        "Recommendations",
        "Whose urgency rose or fell, a second.",
        (
            f'sum by (direction) (rate(aivo_brain_crossings_total{{name="recommendation"}}{RATE}))',
            "{{direction}}",
        ),
        unit="cps",
    ),
    panel(
        "Answers",
        "Graded answers a second.",
        (f"sum(rate({ANSWERS}_total{RATE}))", "answers"),
        unit="cps",
    ),
    panel(
        "Right answers",
        "Share that came, and that the model let expect.",
        (f"sum(rate({ANSWERS}_correct_total{RATE})) / sum(rate({ANSWERS}_total{RATE}))", "came"),
        (
            f"sum(rate({ANSWERS}_expected_total{RATE})) / sum(rate({ANSWERS}_total{RATE}))",
            "expected",
        ),
        unit="percentunit",
    ),
    panel(
        "Calibration by prediction",
        "Share of right answers by what was predicted (lower end of the tenth): the "
        "line 0.8 should lie between 0.8 and 0.9.",
        (
            f"sum by (bin) (increase({ANSWERS}_correct_total[6h])) / "
            f"(sum by (bin) (increase({ANSWERS}_total[6h])) > 0)",
            "{{bin}}",
        ),
        unit="percentunit",
    ),
    panel(
        "Calibration error",
        "Mean distance between predicted and observed, over six hours.",
        "aivo:brain_calibration_error:6h",
    ),
    panel(
        "Brier score",
        "Mean squared error of predictions, over six hours; 0.25 for who always says one half.",
        "aivo:brain_brier_score:6h",
    ),
    panel(
        "Learners",
        "In memory and watched.",
        ("sum(aivo_brain_cached_learners)", "in memory"),
        ("sum(aivo_brain_watched_learners)", "watched"),
    ),
)
