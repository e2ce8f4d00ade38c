package runs

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// tryPicture draws a matrix of so many labels in which most rows are right.
func tryPicture(t *testing.T, labels []string, scale int64) []byte {
	t.Helper()
	at := map[string]int{}
	for i, l := range labels {
		at[l] = i
	}
	content, err := Picture(Confusion{Title: "sentiment, version 2", Subtitle: "14640 rows · accuracy 0.7712 · weighted F1 0.7688", Labels: labels, Count: func(truth, predicted string) int64 {
		i, j := at[truth], at[predicted]
		if i == j {
			return scale * int64(10+i)
		}
		return scale * int64((i*7+j*3)%5) / 4
	}})
	require.NoError(t, err)
	if dir := os.Getenv("SMELT_PICTURES"); dir != "" {
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/%d.png", dir, len(labels)), content, 0o600))
	}
	return content
}

func TestPicturesAreDrawnForFewAndManyLabels(t *testing.T) {
	topics := []string{"arts_&_culture", "business_&_entrepreneurs", "celebrity_&_pop_culture", "diaries_&_daily_life", "family", "fashion_&_style", "film_tv_&_video",
		"fitness_&_health", "food_&_dining", "gaming", "learning_&_educational", "music", "news_&_social_concern", "other_hobbies", "relationships", "science_&_technology",
		"sports", "travel_&_adventure", "youth_&_student_life"}
	many := make([]string, MaxPictureLabels)
	for i := range many {
		many[i] = fmt.Sprintf("label %d", i)
	}
	for _, labels := range [][]string{{"no", "yes"}, {"negative", "neutral", "positive"}, topics, many} {
		content := tryPicture(t, labels, 123)
		size, err := png.DecodeConfig(bytes.NewReader(content))
		require.NoError(t, err)
		require.Greater(t, size.Width, 300)
		require.Less(t, len(content), 300<<10)
	}
}
