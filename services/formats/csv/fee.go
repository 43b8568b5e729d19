package csv

import (
	"cmp"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/money"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// signs are what people write for currencies. A dollar is that of the group's country.
var signs = map[string]string{"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "EURO": "EUR", "EUROS": "EUR", "DOLLARS": "USD", "C$": "CAD", "A$": "AUD", "CHF": "CHF", "FR": "CHF"}

// dollars are the currencies of countries that write them so.
var dollars = map[string]string{"CA": "CAD", "AU": "AUD", "NZ": "NZD", "SG": "SGD", "MX": "MXN"}

// costIsFee takes what stands under "cost" for the fee where it is an amount.
func (r *reader) costIsFee() {
	text := r.cells["cost.type"]
	if _, _, ok := amountOf(text); text != "" && ok && r.cells[pathFee] == "" {
		r.cells[pathFee] = text
		delete(r.cells, "cost.type")
	}
}

// fee reads the fee and its currency: "12.50" with a column for the currency, "5 USD", "$5", "free", "donation".
func (r *reader) fee() {
	text, currency := r.cells[pathFee], strings.ToUpper(r.cells[pathCurrency])
	if text == "" && currency == "" {
		return
	}
	if r.group.GetCost() == nil {
		r.group.Cost = &groupsv1.Group_Cost{}
	}
	cost := r.group.GetCost()
	kind := func(t groupsv1.Group_Cost_Type) { cost.Type = cmp.Or(cost.GetType(), t) }
	switch plain(text) {
	case "free", "none", "nocost", "nocharge", "gratis", "gratuito", "gratuit", "kostenlos", "frei":
		kind(groupsv1.Group_Cost_FREE)
		return
	case "donation", "donations", "bydonation", "donativo", "spende", "don":
		kind(groupsv1.Group_Cost_DONATION)
		return
	}
	m, sign, ok := amountOf(cmp.Or(text, "0"))
	if !ok {
		r.reject(pathFee, "must be an amount such as 12.50, 5 USD or $5, or free")
		return
	}
	if sign == "USD" && strings.Contains(text, "$") && !strings.Contains(strings.ToUpper(text), "US") {
		sign = cmp.Or(dollars[r.group.GetVenue().GetAddress().GetCountry()], sign)
	}
	switch currency = cmp.Or(currency, sign); {
	case currency == "" && m.GetUnits() == 0 && m.GetNanos() == 0:
		kind(groupsv1.Group_Cost_FREE)
		return
	case len(currency) != 3 || strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		r.reject(pathCurrency, "must be a currency's code of three letters, such as EUR, since there is a fee")
		return
	}
	kind(groupsv1.Group_Cost_FEE)
	m.CurrencyCode = currency
	cost.Amount = m
}

// amountOf reads an amount with a currency before or behind it, if it has one.
func amountOf(text string) (m *money.Money, currency string, ok bool) {
	isDigit := func(c rune) bool { return c >= '0' && c <= '9' }
	from, to := strings.IndexFunc(text, isDigit), strings.LastIndexFunc(text, isDigit)+1
	if from < 0 {
		return nil, "", false
	}
	for _, around := range []string{text[:from], text[to:]} {
		sign := strings.ToUpper(strings.Trim(around, " .-"))
		if strings.ContainsAny(around, "-") && currency == "" && sign == "" { // "-5" is none
			return nil, "", false
		}
		switch code := cmp.Or(signs[sign], sign); {
		case sign == "":
		case currency == "" && len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "":
			currency = code
		default:
			return nil, "", false
		}
	}
	whole, cents, _ := strings.Cut(strings.Replace(text[from:to], ",", ".", 1), ".")
	units, err := strconv.ParseInt(whole, 10, 64)
	nanos, errCents := strconv.ParseInt((cents + "000000000")[:9], 10, 32)
	if err != nil || errCents != nil || units < 0 || nanos < 0 || len(cents) > 9 {
		return nil, "", false
	}
	return &money.Money{Units: units, Nanos: int32(nanos)}, currency, true
}

// oneLine takes an address apart that stands in the column for the street as a whole.
func (r *reader) oneLine() {
	a := r.group.GetVenue().GetAddress()
	lines := a.GetAddressLines()
	if len(lines) != 1 || a.GetLocality() != "" || r.cells[pathRest] != "" {
		return
	}
	told := formats.Address(lines[0])
	if told.GetLocality() == "" {
		return
	}
	a.AddressLines, a.Locality = told.GetAddressLines(), told.GetLocality()
	a.AdministrativeArea = cmp.Or(a.GetAdministrativeArea(), told.GetAdministrativeArea())
	a.PostalCode = cmp.Or(a.GetPostalCode(), told.GetPostalCode())
	a.Country = cmp.Or(a.GetCountry(), told.GetCountry())
}
