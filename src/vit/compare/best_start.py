"""Which of the given weights to start from, and what fine-tuning adds to them."""

from vit.compare import statistics
from vit.compare.findings import Findings
from vit.compare.study import FINETUNE
from vit.compare.verdict import Answer, better, effect_of
from vit.compare.wording import interval_text, signed


def best_start(findings: Findings, answer: Answer) -> list[str]:
    """The best start and what is level with it; then what fine-tuning adds, if it was asked for.

    Args:
        findings: of a study of given weights; of any other there is nothing to say.
        answer: whose outsiders can neither win nor lose.
    """
    comparison, study = findings.declared, findings.study
    if not study.weights or comparison is None:
        return []
    arms = [name for name, arm in findings.arms.items() if arm.pretrained]
    able = [arm for arm in arms if arm in comparison.arms and arm not in answer.outside]
    ranked = sorted(able, key=lambda arm: -comparison.arms[arm].value)
    if not ranked:
        return ["No start stands out: none of the weights is better than random features for sure."]
    best, *others = ranked
    level = [findings.titles[arm] for arm in others if not better(comparison, best, arm)]
    value = f"{100 * comparison.arms[best].value:.1f} %, {study.primary.protocol}"
    line = f"Best start: {findings.titles[best]} ({value})"
    line += f"; not distinguishable from it: {', '.join(level)}" if level else ""
    return [f"{line}.", fine_tuning(findings, best)]


def fine_tuning(findings: Findings, arm: str) -> str:
    """What fine-tuning adds to an arm's frozen features."""
    study, title = findings.study, findings.titles[arm]
    if study.frozen_only:
        return (
            "What fine-tuning adds was not asked for: the same command with --finetune measures "
            "it, and a training from scratch beside it."
        )
    measured = {
        protocol: table
        for protocol in (*study.protocols, FINETUNE)
        if (table := findings.results.correctness(arm, study.primary.data, protocol)) is not None
    }
    tuned = measured.pop(FINETUNE, None)
    if tuned is None or not measured or study.seeds < 2:
        return ""
    frozen = max(measured, key=lambda protocol: measured[protocol].mean())
    groups, folds = findings.groups.get(study.primary.data), study.folds or 1
    both = {FINETUNE: tuned, frozen: measured[frozen]}
    comparison = statistics.compare_arms(both, groups, folds=folds, drawn=study.few_labels)
    gain = effect_of(comparison, FINETUNE, frozen)
    interval = interval_text(gain.low, gain.high, "95 % interval", sign=True)
    return (
        f"Fine-tuning adds {signed(gain.value)} points to {title} over its frozen features, "
        f"{frozen} ({interval}; exploratory)."
    )
