package tokenizer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTweetsAreNormalizedAsBERTweetDoes(t *testing.T) {
	_, g := fixture(t, "bertweet")
	require.Len(t, g.Normalized, len(g.Texts))
	for i, want := range g.Normalized {
		require.Equal(t, want, normalizeTweet(g.Texts[i].Text, unlimited), "%+q", g.Texts[i].Text)
	}
}

// TestAPartOfATweetIsEnough has few words normalized for few tokens: they are the beginning of all.
func TestAPartOfATweetIsEnough(t *testing.T) {
	tok, g := fixture(t, "bertweet")
	for i, c := range g.Texts {
		if i%5 > 0 {
			continue // they take long
		}
		text := strings.Repeat(c.Text+" ", 20)
		all, _ := tok.Encode(nil, text, unlimited, false)
		for _, most := range []int{1, 7, 30} {
			got, cut := tok.Encode(nil, text, most, false)
			require.Equal(t, len(all) > most, cut, "%+q", c.Text)
			require.Equal(t, all[:min(most, len(all))], got, "%+q", c.Text)
		}
	}
}

func TestALongTweetIsCutAndSaysSo(t *testing.T) {
	tok, _ := fixture(t, "bertweet")
	for _, text := range []string{strings.Repeat("<a", 1<<19), strings.Repeat("http:!?", 1<<17), strings.Repeat("1.1", 1<<18), "http://x/" + strings.Repeat("y", 1<<20) + " behind", strings.Repeat("\ufe0f!", 1<<18)} {
		ids, cut := tok.Encode(nil, text, 128, true)
		require.LessOrEqual(t, len(ids), 128)
		require.True(t, cut, "%.20q", text)
	}
}

func TestFilesOfBERTweetThatAreRefused(t *testing.T) {
	for want, files := range map[string][3]string{
		`line 2, "b", is no token`:               {"a 1\nb\n", "", `{}`},
		`line 1, "a b", is no pair with a count`: {"a 1\n", "a b\n", `{}`},
		"not UTF-8":                              {"\xff 1\n", "", `{}`},
		`bos_token is "[CLS]"`:                   {"a 1\n", "", `{"bos_token": "[CLS]"}`},
		"mask_token":                             {"a 1\n", "", `{"mask_token": {"content": "[M]"}}`},
		"added token":                            {"a 1\n", "", `{"added_tokens_decoder": {"7": {"content": "@USER"}}}`},
	} {
		var v Vocabulary
		require.NoError(t, json.Unmarshal([]byte(files[2]), &v))
		_, err := FromCodes([]byte(files[0]), []byte(files[1]), v)
		require.ErrorContains(t, err, want)
	}
	data, err := FromCodes([]byte("a@@ 2\r\na 1"), []byte("a b</w> 4\r\na b 3\r\n"), Vocabulary{})
	require.NoError(t, err)
	tok, err := Load(data)
	require.NoError(t, err)
	ids, _ := tok.Encode(nil, "a aa <mask>", 9, true)
	require.Equal(t, []int64{0, 5, 4, 5, 6, 2}, ids)
}
