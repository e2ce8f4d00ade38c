package tokenizer

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/sugarme/tokenizer/pretrained"
)

// TestSugarmeIsRightOnPlainTextAndWrongOnTweets keeps the reason for a tokenizer of our own proven: if the first half
// of these fails, that library has changed; if the second does, it may be good enough by now.
func TestSugarmeIsRightOnPlainTextAndWrongOnTweets(t *testing.T) {
	ours, g := fixture(t, "bert")
	theirs, err := pretrained.FromFile(filepath.Join("testdata", "bert.json"))
	require.NoError(t, err)
	encode := func(text string) string {
		e, err := theirs.EncodeSingle(text, true)
		require.NoError(t, err)
		return fmt.Sprint(e.Ids)
	}
	golden := map[string]string{}
	for _, c := range g.Texts {
		golden[c.Text] = fmt.Sprint(c.IDs)
	}
	for _, text := range []string{"hello world", "Hello World!", "50% off!!! $9.99 €5 £3 ¥100"} {
		ids, _ := ours.Encode(nil, text, unlimited, true)
		require.Equal(t, golden[text], fmt.Sprint(ids), text)
		require.Equal(t, golden[text], encode(text), text)
	}
	wrong := 0
	for _, text := range []string{"café naïve Ünïcödé", "nbsp\u00a0here", "em\u2003space", "ideographic\u3000space", "\ufffdreplacement\ufffd", "[CLS] [SEP] [PAD] [UNK] [MASK]"} {
		ids, _ := ours.Encode(nil, text, unlimited, true)
		require.Equal(t, golden[text], fmt.Sprint(ids), text)
		if encode(text) != golden[text] {
			wrong++
		}
	}
	require.GreaterOrEqual(t, wrong, 4, "of 6 hard texts")
}
