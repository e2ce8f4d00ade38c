package models

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/models/train"
)

// labelled returns rows about two subjects.
func labelled(n int) [][2]string {
	var rows [][2]string
	for i := range n {
		rows = append(rows, [2]string{fmt.Sprintf("the match ended %d to 1, what a goal by our striker", i), "sport"},
			[2]string{fmt.Sprintf("shares fell %d percent after quarterly earnings, the market is nervous", i), "money"})
	}
	return rows
}

func lesson(t testing.TB, name string, rows [][2]string, options map[string]string) *train.Lesson {
	t.Helper()
	with := map[string]string{"encoder": "encoder", "c": "10"}
	maps.Copy(with, options)
	l := &train.Lesson{Definition: train.Definition{Query: "SELECT text, label FROM labels", Database: "live", Options: with}, Name: name, User: "ann"}
	for _, row := range rows {
		require.NoError(t, l.Add(row[0], row[1], false))
	}
	return l
}

func TestATrainedModelAnswersAtOnceAndAfterAStart(t *testing.T) {
	disk := newDisk()
	r := openOn(t, disk)
	ctx := context.Background()
	l := lesson(t, "Subject", labelled(20), nil)
	require.NoError(t, l.Add("", "sport", false))
	require.NoError(t, l.Add("text", "", true))
	info, report, changed, err := r.Train(ctx, l)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, 2, l.Skipped)
	require.Equal(t, 40, report.Rows)
	require.Equal(t, []string{"money", "sport"}, info.Labels)
	require.InDelta(t, 1, report.Matrix.Accuracy(), 0.05)
	require.Equal(t, "sport", says(t, r, "subject", "a late goal won the match"))
	require.Equal(t, "money", says(t, r, "models:/subject@production", "the stock market fell after earnings"))

	again := openOn(t, disk)
	first, err := r.Classify(ctx, "subject", probeTexts)
	require.NoError(t, err)
	second, err := again.Classify(ctx, "subject", probeTexts)
	require.NoError(t, err)
	require.Equal(t, first, second)
	for _, c := range first {
		require.InDelta(t, 1, c.Scores[0].Score+c.Scores[1].Score, 1e-9)
	}
	// The same rows in another order are the same model.
	rows := labelled(20)
	slices.Reverse(rows)
	replace := lesson(t, "subject", rows, nil)
	replace.Replace = true
	_, _, changed, err = again.Train(ctx, replace)
	require.NoError(t, err)
	require.False(t, changed)
	_, _, _, err = again.Train(ctx, lesson(t, "subject", rows, nil))
	require.ErrorIs(t, err, ErrExists)
}

func TestARetrainedVersionWaitsForTheAlias(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	_, _, _, err := r.Train(ctx, lesson(t, "subject", labelled(10), nil))
	require.NoError(t, err)
	more := lesson(t, "subject", append(labelled(10), [2]string{"flour, butter and sugar make a cake", "food"}, [2]string{"the soup needs salt", "food"}), nil)
	more.Retrain = true
	info, _, changed, err := r.Train(ctx, more)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, 2, info.Version)
	require.Equal(t, 1, r.Catalog()[slices.IndexFunc(r.Catalog(), func(m Model) bool { return m.Name == "subject" })].Current)
	require.NoError(t, r.SetAlias(ctx, "subject", "ann", "production", 2, nil))
	require.Equal(t, "food", says(t, r, "subject", "a cake of butter and sugar"))
	other := lesson(t, "sentiment", labelled(10), nil)
	other.Retrain = true
	_, _, _, err = r.Train(ctx, other)
	require.ErrorIs(t, err, ErrUnknownModel, "what was not trained here has nothing to be trained by")
}

func TestAHeadIsRefusedWithAnotherEncoder(t *testing.T) {
	disk := newDisk()
	r := openOn(t, disk)
	ctx := context.Background()
	dir := exported(t, "encoder", nil)
	_, err := r.Create(ctx, "mine", "ann", "", map[string]string{"source": dir, "max_length": "32"}, false, false)
	require.NoError(t, err)
	_, _, _, err = r.Train(ctx, lesson(t, "subject", labelled(10), map[string]string{"encoder": "mine"}))
	require.NoError(t, err)
	require.ErrorContains(t, r.Drop(ctx, "mine", "ann", 0, nil), "version 1 of subject learned from its vectors")

	// An encoder that moves on leaves the head with the version that it knows.
	_, err = r.Create(ctx, "mine", "ann", "", map[string]string{"source": dir, "max_length": "16"}, true, false)
	require.NoError(t, err)
	require.Equal(t, "sport", says(t, r, "subject", "a late goal won the match"))
	// A registry in which it is another one is that of another program, or was tampered with.
	text, err := disk.Read(catalogFile)
	require.NoError(t, err)
	var state catalog
	require.NoError(t, json.Unmarshal(text, &state))
	was := state.Models["mine"].Versions[0].Digest
	state.Models["mine"].Versions = state.Models["mine"].Versions[1:]
	text, err = json.Marshal(state)
	require.NoError(t, err)
	require.NoError(t, disk.Write(catalogFile, text))
	broken := openOn(t, disk)
	_, err = broken.Classify(ctx, "subject", []string{"a goal"})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, was[:12])
	require.ErrorContains(t, err, "ALTER MODEL subject RETRAIN")
	retrain := lesson(t, "subject", labelled(10), map[string]string{"encoder": "mine"})
	retrain.Retrain = true
	_, _, changed, err := broken.Train(ctx, retrain)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "sport", says(t, broken, "subject", "a late goal won the match"))
}

func TestATrainingThatFailsLeavesNothing(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		rows    [][2]string
		options map[string]string
		want    string
	}{
		{nil, nil, "there are none"},
		{[][2]string{{"a", "x"}, {"b", "x"}}, nil, `have the label "x"`},
		{labelled(3), map[string]string{"encoder": "nobody"}, `option encoder = "nobody"`},
		{labelled(3), map[string]string{"encoder": "sentiment"}, "is a classifier"},
		{labelled(3), map[string]string{"encoder": "encoder/7"}, "has no version 7"},
		{labelled(3), map[string]string{"encoder": "encoder@staging"}, "no alias"},
		{labelled(3), map[string]string{"depth": "3"}, "known are encoder, input, label, classes"},
		{labelled(3), map[string]string{"folds": "1"}, "from 2 to 20"},
		{labelled(3), map[string]string{"c": "0"}, "want a number"},
		{labelled(3), map[string]string{"classes": "sport,food"}, `the label "money"`},
		{labelled(3), map[string]string{"multi_label": "true"}, "no JSON array"},
		{labelled(3), map[string]string{"threshold": "0.5"}, "threshold is for multi_label"},
	} {
		disk := newDisk()
		r := openOn(t, disk)
		_, _, _, err := r.Train(ctx, lesson(t, "subject", c.rows, c.options))
		require.ErrorContains(t, err, c.want)
		require.Empty(t, disk.files)
		_, err = r.Resolve("subject")
		require.ErrorIs(t, err, ErrUnknownModel)
	}
	// A crash at each write.
	for writes := range 2 {
		for _, after := range []bool{false, true} {
			disk := newDisk()
			r := openOn(t, disk)
			disk.writes, disk.after = writes, after
			_, _, _, err := r.Train(ctx, lesson(t, "subject", labelled(5), nil))
			require.ErrorIs(t, err, errBroken)
			disk.writes = -1
			reborn := openOn(t, disk)
			_, err = reborn.Resolve("subject")
			if writes == 1 && after {
				require.NoError(t, err, "the registry was written")
				require.Equal(t, "sport", says(t, reborn, "subject", "a goal in the match"))
				continue
			}
			require.ErrorIs(t, err, ErrUnknownModel)
			names, err := disk.Names(filesDir)
			require.NoError(t, err)
			require.Empty(t, names, "files of nobody are removed")
		}
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	disk := newDisk()
	_, _, _, err := openOn(t, disk).Train(stopped, lesson(t, "subject", labelled(5), nil))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, disk.files)
}

func TestAModelAbstainsBelowItsProbability(t *testing.T) {
	r := openOn(t, newDisk())
	_, _, _, err := r.Train(context.Background(), lesson(t, "subject", labelled(20), map[string]string{"abstain": "0.8"}))
	require.NoError(t, err)
	found, err := r.Classify(context.Background(), "subject", []string{"a goal in the last minute of the match", ""})
	require.NoError(t, err)
	require.Equal(t, "sport", found[0].Label)
	require.Empty(t, found[1].Label)
	require.Less(t, found[1].Score, 0.8)
}

func TestLabelsOfARowMayBeMany(t *testing.T) {
	r := openOn(t, newDisk())
	var rows [][2]string
	for i, row := range labelled(20) {
		rows = append(rows, [2]string{row[0], `["` + row[1] + `"]`}, [2]string{row[0] + " and " + labelled(20)[(i+1)%40][0], `["sport", "money"]`})
	}
	rows = append(rows, [2]string{"good night", "[]"}, [2]string{"see you tomorrow", "[]"})
	info, report, _, err := r.Train(context.Background(), lesson(t, "subject", rows, map[string]string{"multi_label": "true"}))
	require.NoError(t, err)
	require.True(t, info.MultiLabel)
	require.Greater(t, report.Matrix.Accuracy(), 0.8)
	found, err := r.Classify(context.Background(), "subject", []string{labelled(1)[0][0], labelled(1)[0][0] + " and " + labelled(1)[1][0]})
	require.NoError(t, err)
	require.Equal(t, []string{"sport"}, found[0].Selected)
	require.ElementsMatch(t, []string{"sport", "money"}, found[1].Selected)
}

// TestHeadsOnOneEncoderShareTheRunOfAText counts what the graph of the encoder is given.
func TestHeadsOnOneEncoderShareTheRunOfAText(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	for _, name := range []string{"one", "two"} {
		_, _, _, err := r.Train(ctx, lesson(t, name, labelled(5), nil))
		require.NoError(t, err)
	}
	encoder, err := r.described("encoder")
	require.NoError(t, err)
	texts := []string{"never seen before", "nor this one"}
	remembered := func() int {
		return len(texts) - len(r.vectors.find(encoder.info.Digest, digestInputs("", texts), func(int, outcome) {}))
	}
	require.Zero(t, remembered())
	_, err = r.Classify(ctx, "one", texts)
	require.NoError(t, err)
	require.Equal(t, 2, remembered())
	// Without its session the encoder can run nothing.
	tokens, session := encoder.tokens, encoder.session
	encoder.use.Lock()
	encoder.tokens = nil
	encoder.use.Unlock()
	defer func() { encoder.tokens, encoder.session = tokens, session }()
	_, err = r.Classify(ctx, "two", texts)
	require.NoError(t, err)
	_, err = r.Embed(ctx, "encoder", texts)
	require.NoError(t, err)
}

// BenchmarkTrain is 250 rows of the pipeline battle, embeddings included.
func BenchmarkTrain(b *testing.B) {
	data, err := os.ReadFile("../queries/battle/labels/labels.jsonl")
	require.NoError(b, err)
	var rows [][2]string
	for line := range strings.Lines(string(data)) {
		var row struct{ Text, Label string }
		require.NoError(b, json.Unmarshal([]byte(line), &row))
		rows = append(rows, [2]string{row.Text, row.Label})
	}
	for b.Loop() {
		r := openOn(b, newDisk())
		_, report, _, err := r.Train(context.Background(), lesson(b, "category", rows, map[string]string{"c": "auto"}))
		require.NoError(b, err)
		b.ReportMetric(report.Matrix.Accuracy(), "accuracy")
		b.ReportMetric(report.C, "C")
	}
}
