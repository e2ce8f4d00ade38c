package batch

import "strconv"

// KeyDigits tell every two floats apart, but for the sign of zero.
const KeyDigits = 17

// AppendKey appends what tells a row from others: rows with the same bytes are equal in every column, NULL and NULL too,
// texts byte by byte. Floats have so many digits; less than 1 means all of them and the sign of zero.
func (b *Batch) AppendKey(key []byte, row, digits int) []byte {
	for i := range b.Columns {
		key = b.Columns[i].appendKey(key, b.Schema[i].Type.Kind, row, digits)
	}
	return key
}

func (c *Column) appendKey(key []byte, k Kind, row, digits int) []byte {
	if c.Null(row) {
		return append(key, 'n')
	}
	switch k {
	case Boolean:
		key = strconv.AppendBool(key, c.Bools[row])
	case Float, Double:
		v := c.Floats[row]
		if v == 0 && digits > 0 {
			v = 0 // no sign
		}
		key = strconv.AppendFloat(key, v, 'g', max(digits, -1), 64)
	case String, Binary, JSON:
		key = strconv.AppendInt(key, int64(len(c.Strings[row])), 10)
		key = append(append(key, ':'), c.Strings[row]...)
	case Decimal:
		key = strconv.AppendInt(key, c.Decimals[row].Hi, 36)
		key = strconv.AppendUint(append(key, '.'), c.Decimals[row].Lo, 36)
	default:
		key = strconv.AppendInt(key, c.Ints[row], 36)
	}
	return append(key, ',')
}
