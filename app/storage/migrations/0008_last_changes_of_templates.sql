-- Whether a change is the last of its template, without looking at the whole history.

CREATE INDEX changes_by_template ON changes (template_id, seq);
