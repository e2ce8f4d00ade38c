"""Writes evaluate_golden.json: what scikit-learn says of predictions over the labels of the shipped models, with three, with nineteen,
and with several labels a text. Run it with scikit-learn installed."""
import json, pathlib, random
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

random.seed(11)
SENTIMENTS = ["negative", "neutral", "positive"]
TOPICS = ["arts_&_culture", "business_&_entrepreneurs", "celebrity_&_pop_culture", "diaries_&_daily_life", "family", "fashion_&_style", "film_tv_&_video",
          "fitness_&_health", "food_&_dining", "gaming", "learning_&_educational", "music", "news_&_social_concern", "other_hobbies", "relationships",
          "science_&_technology", "sports", "travel_&_adventure", "youth_&_student_life"]


def averages(case, truth, predicted, labels):
    p, r, f, s = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    names = case["labels"]
    case["classes"] = {n: {"precision": a, "recall": b, "f1": c, "support": int(d)} for n, a, b, c, d in zip(names, p, r, f, s)}
    case["accuracy"] = accuracy_score(truth, predicted)
    for average in ("weighted", "macro", "micro"):
        p, r, f, _ = precision_recall_fscore_support(truth, predicted, labels=labels, average=average, zero_division=0)
        case[average] = {"precision": p, "recall": r, "f1": f}


def single(name, model, labels, n, right):
    weights = [1 / (i + 1) for i in range(len(labels))]
    truth = random.choices(labels, weights, k=n)
    predicted = [t if random.random() < right else random.choice(labels) for t in truth]
    seen = sorted(set(truth) | set(predicted))
    case = {"name": name, "model": model, "truth": truth, "predicted": predicted, "labels": seen, "matrix": confusion_matrix(truth, predicted, labels=seen).tolist()}
    averages(case, truth, predicted, seen)
    return case


def several(name, model, labels, n):
    truth = [sorted(random.sample(labels, random.choice((0, 1, 1, 2, 3)))) for _ in range(n)]
    predicted = [sorted({l for l in t if random.random() < 0.7} | set(random.sample(labels, random.choice((0, 0, 1))))) for t in truth]
    seen = sorted({l for row in truth + predicted for l in row})
    binary = MultiLabelBinarizer(classes=seen)
    case = {"name": name, "model": model, "truth": [json.dumps(t) for t in truth], "predicted": [json.dumps(p) for p in predicted], "labels": seen}
    averages(case, binary.fit_transform(truth), binary.transform(predicted), None)
    return case


cases = [single("two of three labels", "sentiment", SENTIMENTS[::2], 40, 0.5), single("three labels", "sentiment", SENTIMENTS, 900, 0.7),
         single("nineteen labels", "topic", TOPICS, 1500, 0.6), several("several labels a text", "topic", TOPICS, 400)]
pathlib.Path(__file__).with_name("evaluate_golden.json").write_text(json.dumps(cases) + "\n")
