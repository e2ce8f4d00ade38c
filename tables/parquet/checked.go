package parquet

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"smelt/tables/batch"
)

// checked returns the column as it may be written: an integer or decimal that does not fit its type is an error, and
// texts become valid UTF-8. The column itself is not changed; a copy is made when something must be.
func checked(col batch.Column, t batch.Type, n int) (batch.Column, error) {
	switch t.Kind {
	case batch.Byte:
		return col, fits(&col, n, math.MinInt8, math.MaxInt8, t)
	case batch.Short:
		return col, fits(&col, n, math.MinInt16, math.MaxInt16, t)
	case batch.Integer, batch.Date:
		return col, fits(&col, n, math.MinInt32, math.MaxInt32, t)
	case batch.Decimal:
		return col, digits(&col, n, t)
	case batch.String, batch.JSON:
		return validText(col), nil
	default:
		return col, nil
	}
}

func fits(col *batch.Column, n int, lowest, highest int64, t batch.Type) error {
	for i, v := range col.Ints[:n] {
		if (v < lowest || v > highest) && !col.Null(i) {
			return fmt.Errorf("%d does not fit a %s", v, t)
		}
	}
	return nil
}

// digits refuses decimals of more digits than the type has.
func digits(col *batch.Column, n int, t batch.Type) error {
	limit, ok := batch.Int128FromBig(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil))
	if !ok {
		return fmt.Errorf("no decimal has %d digits", t.Precision)
	}
	lowest, ok := batch.Int128FromBig(new(big.Int).Neg(limit.Big()))
	if !ok {
		return fmt.Errorf("no decimal has %d digits", t.Precision)
	}
	for i, v := range col.Decimals[:n] {
		if (!less(v, limit) || !less(lowest, v)) && !col.Null(i) {
			return fmt.Errorf("%s (times 10^-%d) does not fit %s", v.Big(), t.Scale, t)
		}
	}
	return nil
}

// less compares as signed numbers: the high half decides, then the low half as it stands.
func less(a, b batch.Int128) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

func validText(col batch.Column) batch.Column {
	copied := false
	last := ""
	for i, s := range col.Strings {
		if s == last || utf8.ValidString(s) { // repeated values are common, and quickly compared
			last = s
			continue
		}
		if !copied {
			col.Strings, copied = append([]string(nil), col.Strings...), true
		}
		col.Strings[i] = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	return col
}
