-- Drops the grammar of an image reference.

DROP FUNCTION public.valid_image_reference(text);
