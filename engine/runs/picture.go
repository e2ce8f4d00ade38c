package runs

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// MaxPictureLabels bounds the classes of a picture: nobody tells more colours apart, and names would be too small to read.
const MaxPictureLabels = 60

// Sizes in pixels: twice of what a page shows, for screens with two pixels to a point.
const (
	gap        = 16
	titleSize  = 34
	textSize   = 26
	smallSize  = 20
	labelRunes = 26 // a longer name is cut
	barWidth   = 28
)

var (
	ink   = color.RGBA{0x22, 0x22, 0x22, 0xff}
	faint = color.RGBA{0x55, 0x55, 0x55, 0xff}
	paper = color.RGBA{0xff, 0xff, 0xff, 0xff}
	lines = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

// Confusion is a confusion matrix to draw.
type Confusion struct {
	Title, Subtitle string
	Labels          []string
	Count           func(truth, predicted string) int64
}

// Picture draws a confusion matrix as PNG: a row for each truth, a column for each prediction, in each cell how many rows it
// has, and as colour and in percent the share of the truth's rows.
func Picture(c Confusion) ([]byte, error) {
	p, err := newPen(c)
	if err != nil {
		return nil, err
	}
	p.draw()
	var out bytes.Buffer
	if err := png.Encode(&out, p.to); err != nil { // the best compression takes five times as long and saves a thirtieth
		return nil, fmt.Errorf("draw confusion matrix: %w", err)
	}
	return out.Bytes(), nil
}

// pen draws one picture.
type pen struct {
	Confusion
	to                   *image.RGBA
	title, text, small   font.Face
	cell                 int // pixels of a side
	left, top            int // where the matrix begins
	names                int // pixels of the longest name
	below                int // pixels that the names under the columns take
	upright              bool
	percent, countsShown bool
}

func newPen(c Confusion) (*pen, error) {
	p := &pen{Confusion: c}
	for _, f := range []struct {
		face *font.Face
		ttf  []byte
		size float64
	}{{&p.title, gomedium.TTF, titleSize}, {&p.text, goregular.TTF, textSize}, {&p.small, goregular.TTF, smallSize}} {
		parsed, err := opentype.Parse(f.ttf)
		if err == nil {
			*f.face, err = opentype.NewFace(parsed, &opentype.FaceOptions{Size: f.size, DPI: 72, Hinting: font.HintingFull})
		}
		if err != nil {
			return nil, fmt.Errorf("open font: %w", err)
		}
	}
	n := len(c.Labels)
	switch {
	case n <= 8:
		p.cell, p.percent, p.countsShown = 170, true, true
	case n <= 25:
		p.cell, p.countsShown = 84, true
	default:
		p.cell = 34
	}
	widest := 0
	for _, name := range c.Labels {
		widest = max(widest, font.MeasureString(p.text, shortened(name)).Ceil())
	}
	p.names = widest
	p.upright = widest > p.cell-gap
	p.below = lineHeight(p.text)
	if p.upright {
		p.below = widest
	}
	p.left = 3*gap + lineHeight(p.text) + p.names
	p.top = 2*gap + lineHeight(p.title) + lineHeight(p.small) + gap
	side := n * p.cell
	width := p.left + side + 3*gap + barWidth + font.MeasureString(p.small, "100 %").Ceil() + 2*gap
	width = max(width, 4*gap+font.MeasureString(p.title, c.Title).Ceil(), 4*gap+font.MeasureString(p.small, c.Subtitle).Ceil())
	height := p.top + side + gap + p.below + gap + lineHeight(p.text) + 2*gap
	p.to = image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(p.to, p.to.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	return p, nil
}

func (p *pen) draw() {
	n := len(p.Labels)
	side := n * p.cell
	p.write(p.title, ink, p.Title, 2*gap, gap+ascent(p.title))
	p.write(p.small, faint, p.Subtitle, 2*gap, gap+lineHeight(p.title)+ascent(p.small))
	for i, truth := range p.Labels {
		var of int64
		for _, predicted := range p.Labels {
			of += p.Count(truth, predicted)
		}
		for j, predicted := range p.Labels {
			p.square(i, j, p.Count(truth, predicted), of)
		}
	}
	for i := range n + 1 {
		p.fill(lines, p.left, p.top+i*p.cell, side+1, 1)
		p.fill(lines, p.left+i*p.cell, p.top, 1, side+1)
	}
	for i, name := range p.Labels {
		name = shortened(name)
		middle := i*p.cell + p.cell/2
		width := font.MeasureString(p.text, name).Ceil()
		p.write(p.text, ink, name, p.left-gap-width, p.top+middle+ascent(p.text)/2-2)
		if p.upright {
			p.writeUp(p.text, ink, name, p.left+middle, p.top+side+gap+width)
		} else {
			p.write(p.text, ink, name, p.left+middle-width/2, p.top+side+gap+ascent(p.text))
		}
	}
	width := font.MeasureString(p.text, "truth").Ceil()
	p.writeUp(p.text, faint, "truth", gap+lineHeight(p.text)/2, p.top+side/2+width/2)
	width = font.MeasureString(p.text, "predicted").Ceil()
	p.write(p.text, faint, "predicted", p.left+side/2-width/2, p.top+side+gap+p.below+gap+ascent(p.text))
	p.bar(p.left+side+3*gap, p.top, side)
}

// square draws one cell.
func (p *pen) square(row, column int, count, of int64) {
	share := 0.0
	if of > 0 {
		share = float64(count) / float64(of)
	}
	x, y := p.left+column*p.cell, p.top+row*p.cell
	p.fill(shade(share), x, y, p.cell, p.cell)
	if !p.countsShown || count == 0 && !p.percent {
		return
	}
	on := color.Color(ink)
	if share > 0.5 {
		on = paper
	}
	face, number := p.text, strconv.FormatInt(count, 10)
	if font.MeasureString(face, number).Ceil() > p.cell-6 {
		if face = p.small; font.MeasureString(face, number).Ceil() > p.cell-6 {
			number = strconv.FormatFloat(float64(count), 'g', 2, 64)
		}
	}
	middle := y + p.cell/2 + ascent(face)/2 - 2
	if p.percent && of > 0 {
		middle -= lineHeight(p.small) / 2
		p.center(p.small, on, percentOf(share), x+p.cell/2, middle+lineHeight(p.small)+4)
	}
	p.center(face, on, number, x+p.cell/2, middle)
}

// bar shows which colour means which share.
func (p *pen) bar(x, y, height int) {
	height = min(height, 510)
	for i := range height {
		p.fill(shade(1-float64(i)/float64(height-1)), x, y+i, barWidth, 1)
	}
	for _, at := range []float64{0, 0.5, 1} {
		base := y + int((1-at)*float64(height-1)) + ascent(p.small)/2
		p.write(p.small, faint, strconv.Itoa(int(100*at))+" %", x+barWidth+gap/2, min(max(base, y+ascent(p.small)), y+height))
	}
}

func percentOf(share float64) string {
	if share == 0 || share == 1 {
		return strconv.Itoa(int(100*share)) + " %"
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64) + " %"
}

// shade goes from white to dark blue.
func shade(share float64) color.Color {
	stops := [...]color.RGBA{{0xf7, 0xfb, 0xff, 0xff}, {0xc6, 0xdb, 0xef, 0xff}, {0x6b, 0xae, 0xd6, 0xff}, {0x21, 0x71, 0xb5, 0xff}, {0x08, 0x30, 0x6b, 0xff}}
	at := min(1, max(0, share)) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	part := at - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + part*(float64(b)-float64(a)))) }
	a, b := stops[i], stops[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// shortened cuts a long name.
func shortened(name string) string {
	if r := []rune(name); len(r) > labelRunes {
		return string(r[:labelRunes-1]) + "…"
	}
	return name
}

func ascent(f font.Face) int     { return f.Metrics().Ascent.Ceil() }
func lineHeight(f font.Face) int { return f.Metrics().Height.Ceil() }

func (p *pen) fill(c color.Color, x, y, width, height int) {
	draw.Draw(p.to, image.Rect(x, y, x+width, y+height), image.NewUniform(c), image.Point{}, draw.Src)
}

// write writes from left to right; y is the line that letters stand on.
func (p *pen) write(f font.Face, c color.Color, text string, x, y int) {
	(&font.Drawer{Dst: p.to, Src: image.NewUniform(c), Face: f, Dot: fixed.P(x, y)}).DrawString(text)
}

func (p *pen) center(f font.Face, c color.Color, text string, x, y int) {
	p.write(f, c, text, x-font.MeasureString(f, text).Ceil()/2, y)
}

// writeUp writes from below to above; x is the middle of the letters, y where the text begins.
func (p *pen) writeUp(f font.Face, c color.Color, text string, x, y int) {
	width, height := font.MeasureString(f, text).Ceil(), lineHeight(f)
	flat := image.NewAlpha(image.Rect(0, 0, width, height))
	(&font.Drawer{Dst: flat, Src: image.Opaque, Face: f, Dot: fixed.P(0, ascent(f))}).DrawString(text)
	turned := image.NewAlpha(image.Rect(0, 0, height, width))
	for i := range width {
		for j := range height {
			turned.SetAlpha(j, width-1-i, flat.AlphaAt(i, j))
		}
	}
	draw.DrawMask(p.to, image.Rect(x-height/2, y-width, x-height/2+height, y), image.NewUniform(c), image.Point{}, turned, image.Point{}, draw.Over)
}
