package importer

// openAI reads OpenAI chat messages, and what is enough like them.
type openAI struct{}

func (openAI) claims(h head) claim {
	it := h.first()
	if list, _ := chatMessages(it); list != nil {
		return claimIf(anyMessage(list, func(f fields) bool { return f.firstText("role", "from") != "" }))
	}
	if it.fields.isChat() && !it.fields.hasList() {
		return claimPart
	}
	return claimNone
}

func (openAI) read(it *item, out *scribe) error {
	readChat(it, out, dialect{})
	return nil
}
