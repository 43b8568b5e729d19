package csv

// words by which tables call languages and countries, beside their codes.
var (
	languageNames = map[string]string{
		"english": "en", "spanish": "es", "español": "es", "german": "de", "deutsch": "de", "french": "fr", "français": "fr", "portuguese": "pt", "português": "pt",
		"italian": "it", "italiano": "it", "dutch": "nl", "nederlands": "nl", "polish": "pl", "polski": "pl", "russian": "ru", "ukrainian": "uk", "arabic": "ar",
		"hebrew": "he", "turkish": "tr", "chinese": "zh", "mandarin": "zh", "cantonese": "yue", "japanese": "ja", "korean": "ko", "vietnamese": "vi", "tagalog": "tl",
		"hindi": "hi", "urdu": "ur", "punjabi": "pa", "bengali": "bn", "somali": "so", "haitiancreole": "ht", "catalan": "ca", "català": "ca", "basque": "eu",
		"galician": "gl", "swedish": "sv", "norwegian": "no", "danish": "da", "finnish": "fi", "greek": "el", "czech": "cs", "hungarian": "hu", "romanian": "ro",
		"americansignlanguage": "ase", "asl": "ase", "britishsignlanguage": "bfi", "bsl": "bfi",
	}
)
