.PHONY: generate
TOOLS := .build/tools

$(TOOLS)/%.stamp: .ci/tools/%/go.mod .ci/tools/%/go.sum
	@mkdir -p $(TOOLS)
	cd .ci/tools/$* && go build -o $(CURDIR)/$(TOOLS)/ tool
	@touch $@

generate: $(TOOLS)/buf.stamp $(TOOLS)/protogen.stamp ## Generate the Go code of proto/
	$(TOOLS)/buf generate
