"""Print what a study says of planted results, to be read by people: is it clear what to do now?

python tests/planted_sentences.py
"""

from planted import findings, planted
from vit.compare.conclusion import Conclusion

EQUAL = {"scratch": 0.6, "supervised": 0.6, "dino": 0.6}
STUDIES = {  # accuracies, states of validity, settings
    "+20 points": ({"dino": 0.8}, {}, {}),
    "equal": ({}, {}, {}),
    "equal within the margin": ({}, {}, {"images": 40_000, "margin": 0.03}),
    "both kinds pay": ({"dino": 0.8, "supervised": 0.8}, {}, {}),
    "pre-training does harm": ({"dino": 0.5, "supervised": 0.5}, {}, {}),
    "one collapsed seed": ({"dino": 0.8}, {}, {"odd": {("dino", 3): 0.2}}),
    "one failed arm": ({"dino": 0.8}, {}, {"failed": (("dino", 1),)}),
    "the baseline failed": ({"dino": 0.8}, {}, {"failed": (("scratch", 0),)}),
    "an untrained arm leads": ({"dino": 0.8}, {"dino": "not trained"}, {}),
    "an untrained arm trails": (
        {"supervised": 0.5, "dino": 0.4},
        {"dino": "not trained"},
        {},
    ),
    "an untrained arm beside a winner": ({"supervised": 0.8}, {"dino": "not trained"}, {}),
    "not clear if it trained": (
        {"supervised": 0.5, "dino": 0.4},
        {"dino": "cannot tell"},
        {},
    ),
    "a control is best": ({}, {}, {"controls": {"pixels": 0.9, "kmeans": 0.5}}),
    "the gain is its own interval's alone": ({"dino": 0.61}, {}, {}),
    "two seeds": ({"dino": 0.62}, {}, {"seeds": 2}),
    "one seed": ({"dino": 0.8}, {}, {"seeds": 1}),
}


if __name__ == "__main__":
    for name, (accuracy, states, settings) in STUDIES.items():
        results = planted(EQUAL | accuracy, **settings)
        first, *rest = Conclusion(findings(results, states)).sentences()
        print("\n".join([f"\n## {name}\n", f"**{first}**\n", *(f"- {line}" for line in rest)]))
